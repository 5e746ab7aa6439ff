#pragma once

#include <array>
#include <tuple>

#include <ATen/core/Tensor.h>

// One signature, several implementations; splice.cpp registers them all.
namespace weft::ops {

using at::Tensor;

/// embeddings [T, D], visual [M, D], placeholders [T] -> [T, D], contiguous.
/// Backward: grad [T, D] -> the gradients of embeddings [T, D] and visual [M, D], each [0] where it
/// is not wanted.
#define WEFT_SPLICE_SIGNATURES                                                               \
  Tensor splice(const Tensor& embeddings, const Tensor& visual, const Tensor& placeholders); \
  std::tuple<Tensor, Tensor> splice_backward(const Tensor& grad, const Tensor& placeholders, \
                                             c10::SymInt visual_rows, std::array<bool, 2> wanted)

namespace dispatch {  // through torch's dispatcher
WEFT_SPLICE_SIGNATURES;
}
namespace reference {  // plain ATen: the specification, and every backend without its own
WEFT_SPLICE_SIGNATURES;
}
namespace cpu {
WEFT_SPLICE_SIGNATURES;
}
namespace cuda {
WEFT_SPLICE_SIGNATURES;
}
namespace meta {
WEFT_SPLICE_SIGNATURES;
}
namespace autograd {
Tensor splice(const Tensor& embeddings, const Tensor& visual, const Tensor& placeholders);
}

#undef WEFT_SPLICE_SIGNATURES

}  // namespace weft::ops
