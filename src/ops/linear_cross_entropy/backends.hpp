#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <tuple>

#include <ATen/core/Tensor.h>

// One signature, several implementations; linear_cross_entropy.cpp registers them all.
namespace weft::ops {

using at::Tensor;

/// losses [N] in the accumulation type, 0 for rows without a label. Where row_grad [N] is given,
/// also the gradients of sum_i row_grad_i losses_i in x [N, D], weight [V, D] and bias [V], in
/// their dtype (fp32 for fp16, whose range they may leave before the caller's factor); [0] where
/// not `wanted`.
using RowLosses = std::tuple<Tensor, Tensor, Tensor, Tensor>;
using Wanted = std::array<bool, 3>;

#define WEFT_ROW_LOSSES_SIGNATURE                                               \
  RowLosses linear_cross_entropy_rows(                                          \
      const Tensor& x, const Tensor& weight, const Tensor& labels,              \
      const std::optional<Tensor>& bias, const std::optional<Tensor>& row_grad, \
      double label_smoothing, double z_loss, double softcap, Wanted wanted)

/// reduction: 0 mean, 1 sum, 2 none.
#define WEFT_LINEAR_CROSS_ENTROPY_SIGNATURE                                                \
  Tensor linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& labels, \
                              const std::optional<Tensor>& bias, double label_smoothing,   \
                              double z_loss, double softcap, int64_t reduction)

/// The gradients of the forward pass, times that of the loss, in the dtypes of x, weight and bias.
/// These are inputs only so that a second derivative in them is noticed.
#define WEFT_LINEAR_CROSS_ENTROPY_BACKWARD_SIGNATURE                                      \
  std::tuple<Tensor, Tensor, Tensor> linear_cross_entropy_backward(                       \
      const Tensor& grad, const Tensor& x, const Tensor& weight,                          \
      const std::optional<Tensor>& bias, const Tensor& x_grad, const Tensor& weight_grad, \
      const Tensor& bias_grad)

namespace dispatch {  // through torch's dispatcher
WEFT_ROW_LOSSES_SIGNATURE;
WEFT_LINEAR_CROSS_ENTROPY_SIGNATURE;
WEFT_LINEAR_CROSS_ENTROPY_BACKWARD_SIGNATURE;
}  // namespace dispatch
namespace reference {  // plain ATen, dense: the specification, and every backend without its own
WEFT_ROW_LOSSES_SIGNATURE;
}
namespace cpu {
WEFT_ROW_LOSSES_SIGNATURE;
}
namespace cuda {
WEFT_ROW_LOSSES_SIGNATURE;
}
namespace meta {
WEFT_ROW_LOSSES_SIGNATURE;
}
namespace autograd {
WEFT_LINEAR_CROSS_ENTROPY_SIGNATURE;
}
namespace composite {  // by linear_cross_entropy_rows of any backend
WEFT_LINEAR_CROSS_ENTROPY_SIGNATURE;
WEFT_LINEAR_CROSS_ENTROPY_BACKWARD_SIGNATURE;
}  // namespace composite

/// The reduction of LossReduction over losses [N] and labels [N].
Tensor reduce_losses(const Tensor& losses, const Tensor& labels, int64_t reduction);

/// fp32 for fp16, else the dtype itself.
at::ScalarType gradient_type(at::ScalarType type);

#undef WEFT_ROW_LOSSES_SIGNATURE
#undef WEFT_LINEAR_CROSS_ENTROPY_SIGNATURE
#undef WEFT_LINEAR_CROSS_ENTROPY_BACKWARD_SIGNATURE

}  // namespace weft::ops
