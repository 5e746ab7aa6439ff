#pragma once

#include <tuple>

#include <ATen/core/Tensor.h>

// One signature, several implementations; sigmoid_loss.cpp registers them all.
namespace weft::ops {

using at::Tensor;

/// Gradients of image [N, D], text [N, D], scale [] and bias [], each in its input's dtype.
using SigmoidLossGradients = std::tuple<Tensor, Tensor, Tensor, Tensor>;

#define WEFT_SIGMOID_LOSS_SIGNATURES                                                  \
  Tensor sigmoid_loss(const Tensor& image, const Tensor& text, const Tensor& scale,   \
                      const Tensor& bias);                                            \
  SigmoidLossGradients sigmoid_loss_backward(const Tensor& grad, const Tensor& image, \
                                             const Tensor& text, const Tensor& scale, \
                                             const Tensor& bias)

namespace dispatch {  // through torch's dispatcher
WEFT_SIGMOID_LOSS_SIGNATURES;
}
namespace reference {  // plain ATen, dense: the specification, and every backend without its own
WEFT_SIGMOID_LOSS_SIGNATURES;
}
namespace cpu {
WEFT_SIGMOID_LOSS_SIGNATURES;
}
namespace meta {
WEFT_SIGMOID_LOSS_SIGNATURES;
}
namespace autograd {
Tensor sigmoid_loss(const Tensor& image, const Tensor& text, const Tensor& scale,
                    const Tensor& bias);
}

#undef WEFT_SIGMOID_LOSS_SIGNATURES

}  // namespace weft::ops
