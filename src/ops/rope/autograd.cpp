#include <torch/csrc/autograd/custom_function.h>

#include "ops/rope/backends.hpp"

namespace weft::ops::autograd {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Rope : torch::autograd::Function<Rope> {
  static constexpr bool is_traceable = true;

  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& cos, const Tensor& sin,
                        bool interleaved, bool inverse) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    ctx->save_for_backward({cos, sin});
    ctx->saved_data["interleaved"] = interleaved;
    ctx->saved_data["inverse"] = inverse;
    return dispatch::rope(x, cos, sin, interleaved, inverse);
  }

  // A rotation's transpose is its inverse; through the dispatcher, so that it is differentiable.
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto s = ctx->get_saved_variables();
    return {dispatch::rope(grads[0], s[0], s[1], ctx->saved_data["interleaved"].toBool(),
                           !ctx->saved_data["inverse"].toBool()),
            {},
            {},
            {},
            {}};
  }
};

}  // namespace

Tensor rope(const Tensor& x, const Tensor& cos, const Tensor& sin, bool interleaved, bool inverse) {
  return Rope::apply(x, cos.detach(), sin.detach(), interleaved, inverse);
}

}  // namespace weft::ops::autograd
