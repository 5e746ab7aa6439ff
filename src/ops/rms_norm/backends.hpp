#pragma once

#include <array>
#include <optional>
#include <tuple>

#include <ATen/core/Tensor.h>

// One signature, several implementations; rms_norm.cpp registers them all.
namespace weft::ops {

using at::Tensor;

/// x [..., D], weight [D] -> the result, of its type and rows_together(x)'s strides, and 1 / rms,
/// [..., 1] in the same order. Backward: gradients of x and weight, in their types; at::empty({0})
/// where not wanted, or where there is no weight.
#define WEFT_RMS_NORM_SIGNATURES                                                            \
  std::tuple<Tensor, Tensor> rms_norm(const Tensor& x, const std::optional<Tensor>& weight, \
                                      double eps);                                          \
  std::tuple<Tensor, Tensor> rms_norm_backward(const Tensor& grad, const Tensor& x,         \
                                               const std::optional<Tensor>& weight,         \
                                               const Tensor& rstd, std::array<bool, 2> wanted)

namespace dispatch {  // through torch's dispatcher
WEFT_RMS_NORM_SIGNATURES;
}
namespace reference {  // plain ATen: the specification, and every backend without its own
WEFT_RMS_NORM_SIGNATURES;
}
namespace cpu {
WEFT_RMS_NORM_SIGNATURES;
}
namespace cuda {  // torch's own kernels
WEFT_RMS_NORM_SIGNATURES;
}
namespace meta {
WEFT_RMS_NORM_SIGNATURES;
}
namespace autograd {
std::tuple<Tensor, Tensor> rms_norm(const Tensor& x, const std::optional<Tensor>& weight,
                                    double eps);
}

#undef WEFT_RMS_NORM_SIGNATURES

inline bool has_weight(const std::optional<Tensor>& weight) { return weight && weight->defined(); }

/// x, or a contiguous copy where its rows do not fill a block of memory one after the other.
Tensor rows_together(const Tensor& x);

/// `grad` with the strides that rows_together(x) has.
Tensor with_rows_of(const Tensor& grad, const Tensor& x);

/// Of x and weight; x's without one.
at::ScalarType rms_norm_type(const Tensor& x, const std::optional<Tensor>& weight);

}  // namespace weft::ops
