#include <ATen/Functions.h>
#include <ATen/OpMathType.h>
#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ops/rms_norm/backends.hpp"

namespace weft::ops::autograd {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static constexpr bool is_traceable = true;

  static variable_list forward(AutogradContext* ctx, const Tensor& x,
                               const std::optional<Tensor>& weight, double eps) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto [out, rstd] = dispatch::rms_norm(x, weight, eps);
    ctx->save_for_backward({x, weight.value_or(Tensor()), rstd});
    ctx->saved_data["eps"] = eps;
    ctx->mark_non_differentiable({rstd});
    return {out, rstd};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto s = ctx->get_saved_variables();
    const auto weight = s[1].defined() ? std::optional(s[1]) : std::nullopt;
    const std::array<bool, 2> wanted = {ctx->needs_input_grad(0),
                                        weight.has_value() && ctx->needs_input_grad(1)};
    const auto [x_grad, weight_grad] = [&] {
      if (!at::GradMode::is_enabled())
        return dispatch::rms_norm_backward(grads[0], s[0], weight, s[2], wanted);
      // Differentiable: by operations that autograd sees, from x on.
      const auto wide = s[0].to(s[2].scalar_type());
      const auto rstd = at::rsqrt(wide.square().mean(-1, true) + ctx->saved_data["eps"].toDouble());
      return reference::rms_norm_backward(grads[0], s[0], weight, rstd, wanted);
    }();
    return {wanted[0] ? x_grad : Tensor(), wanted[1] ? weight_grad : Tensor(), {}};
  }
};

}  // namespace

std::tuple<Tensor, Tensor> rms_norm(const Tensor& x, const std::optional<Tensor>& weight,
                                    double eps) {
  const auto out = RmsNorm::apply(x, weight, eps);
  return {out[0], out[1]};
}

}  // namespace weft::ops::autograd
