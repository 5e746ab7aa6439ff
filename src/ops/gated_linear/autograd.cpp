#include <torch/csrc/autograd/custom_function.h>

#include "ops/gated_linear/backends.hpp"

namespace weft::ops::autograd {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct GatedLinear : torch::autograd::Function<GatedLinear> {
  static constexpr bool is_traceable = true;

  static Tensor forward(AutogradContext* ctx, const Tensor& gate, const Tensor& up,
                        const Tensor& weight, const std::optional<Tensor>& bias,
                        int64_t activation) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    ctx->save_for_backward({gate, up, weight});
    ctx->saved_data["biased"] = bias && bias->defined();
    ctx->saved_data["activation"] = activation;
    return dispatch::gated_linear(gate, up, weight, bias, activation);
  }

  // Through the dispatcher, so that it is differentiable.
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    // It may be called inside an autocast region, which must not reach its products.
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    const auto s = ctx->get_saved_variables();
    const auto &gate = s[0], &up = s[1], &weight = s[2], &grad = grads[0];
    const auto activation = ctx->saved_data["activation"].toInt();
    const GatedWanted wanted = {ctx->needs_input_grad(2), ctx->needs_input_grad(0),
                                ctx->needs_input_grad(1)};
    const bool shifted = ctx->saved_data["biased"].toBool() && ctx->needs_input_grad(3);
    Tensor product, gate_grad, up_grad;
    if (wanted[1] || wanted[2])
      std::tie(product, gate_grad, up_grad) =
          dispatch::gated_backward(grad.mm(weight), gate, up, activation, wanted);
    else if (wanted[0])
      product = dispatch::gated(gate, up, activation);
    return {wanted[1] ? gate_grad : Tensor(), wanted[2] ? up_grad : Tensor(),
            wanted[0] ? grad.t().mm(product) : Tensor(), shifted ? grad.sum(0) : Tensor(),
            Tensor()};
  }
};

bool wants_gradient(const variable_list& inputs) {
  return at::GradMode::is_enabled() && torch::autograd::any_variable_requires_grad(inputs);
}

}  // namespace

Tensor gated_linear(const Tensor& gate, const Tensor& up, const Tensor& weight,
                    const std::optional<Tensor>& bias, int64_t activation) {
  return GatedLinear::apply(gate, up, weight, bias, activation);
}

// What is differentiated again is the specification, which plain ATen knows how to.
Tensor gated(const Tensor& gate, const Tensor& up, int64_t activation) {
  if (wants_gradient({gate, up})) return reference::gated(gate, up, activation);
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  return dispatch::gated(gate, up, activation);
}

GatedOutputs gated_backward(const Tensor& grad, const Tensor& gate, const Tensor& up,
                            int64_t activation, GatedWanted wanted) {
  if (wants_gradient({grad, gate, up}))
    return reference::gated_backward(grad, gate, up, activation, wanted);
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  return dispatch::gated_backward(grad, gate, up, activation, wanted);
}

}  // namespace weft::ops::autograd
