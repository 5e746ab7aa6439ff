#pragma once

#include <tuple>

#include <ATen/core/Tensor.h>

// One signature, several implementations; info_nce.cpp registers them all.
namespace weft::ops {

using at::Tensor;

/// loss []; positive [N] = S_ii; image_nll [N] = -log softmax_j(S_ij)[i]; text_nll [N], the same
/// over columns. All in the accumulation type of the inputs.
using InfoNceOutput = std::tuple<Tensor, Tensor, Tensor, Tensor>;
/// Gradients of image [N, D], text [N, D] and scale [], each in its input's dtype.
using InfoNceGradients = std::tuple<Tensor, Tensor, Tensor>;

#define WEFT_INFO_NCE_SIGNATURES                                                                  \
  InfoNceOutput info_nce(const Tensor& image, const Tensor& text, const Tensor& scale);           \
  InfoNceGradients info_nce_backward(const Tensor& grad, const Tensor& image, const Tensor& text, \
                                     const Tensor& scale, const Tensor& positive,                 \
                                     const Tensor& image_nll, const Tensor& text_nll)

namespace dispatch {  // through torch's dispatcher
WEFT_INFO_NCE_SIGNATURES;
}
namespace reference {  // plain ATen, dense: the specification, and every backend without its own
WEFT_INFO_NCE_SIGNATURES;
}
namespace cpu {
WEFT_INFO_NCE_SIGNATURES;
}
namespace meta {
WEFT_INFO_NCE_SIGNATURES;
}
namespace autograd {
InfoNceOutput info_nce(const Tensor& image, const Tensor& text, const Tensor& scale);
}

#undef WEFT_INFO_NCE_SIGNATURES

}  // namespace weft::ops
