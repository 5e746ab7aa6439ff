#include <torch/csrc/autograd/custom_function.h>

#include "ops/info_nce/backends.hpp"

namespace weft::ops::autograd {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct InfoNce : torch::autograd::Function<InfoNce> {
  static constexpr bool is_traceable = true;

  static variable_list forward(AutogradContext* ctx, const Tensor& image, const Tensor& text,
                               const Tensor& scale) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    auto [loss, positive, image_nll, text_nll] = dispatch::info_nce(image, text, scale);
    ctx->save_for_backward({image, text, scale, positive, image_nll, text_nll});
    ctx->mark_non_differentiable({positive, image_nll, text_nll});
    return {loss, positive, image_nll, text_nll};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto s = ctx->get_saved_variables();
    auto [image, text, scale] =
        dispatch::info_nce_backward(grads[0], s[0], s[1], s[2], s[3], s[4], s[5]);
    return {image, text, scale};
  }
};

}  // namespace

InfoNceOutput info_nce(const Tensor& image, const Tensor& text, const Tensor& scale) {
  const auto out = InfoNce::apply(image, text, scale);
  return {out[0], out[1], out[2], out[3]};
}

}  // namespace weft::ops::autograd
