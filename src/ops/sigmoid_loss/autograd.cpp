#include <torch/csrc/autograd/custom_function.h>

#include "ops/sigmoid_loss/backends.hpp"

namespace weft::ops::autograd {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct SigmoidLoss : torch::autograd::Function<SigmoidLoss> {
  static constexpr bool is_traceable = true;

  static Tensor forward(AutogradContext* ctx, const Tensor& image, const Tensor& text,
                        const Tensor& scale, const Tensor& bias) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    ctx->save_for_backward({image, text, scale, bias});
    return dispatch::sigmoid_loss(image, text, scale, bias);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto s = ctx->get_saved_variables();
    auto [image, text, scale, bias] =
        dispatch::sigmoid_loss_backward(grads[0], s[0], s[1], s[2], s[3]);
    return {image, text, scale, bias};
  }
};

}  // namespace

Tensor sigmoid_loss(const Tensor& image, const Tensor& text, const Tensor& scale,
                    const Tensor& bias) {
  return SigmoidLoss::apply(image, text, scale, bias);
}

}  // namespace weft::ops::autograd
