#include <ATen/Functions.h>
#include <ATen/OpMathType.h>
#include <ATen/TensorOperators.h>
#include <ATen/TensorSubclassLikeUtils.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/engine.h>

#include <weft/ops/linear_cross_entropy.hpp>

#include "ops/linear_cross_entropy/backends.hpp"

namespace weft::ops::autograd {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// d(loss) / d(loss of a row) [N], of a mean or a sum.
Tensor row_weights(const Tensor& losses_like, const Tensor& labels, int64_t reduction) {
  const auto ones = at::ones_like(labels, losses_like.options());
  return static_cast<LossReduction>(reduction) == LossReduction::mean
             ? ones / labels.ne(kIgnoredLabel).sum().clamp_min(1)
             : ones;
}

/// Gradients of nine arguments, of which x, weight and bias are 0, 1 and 3.
variable_list of_arguments(const std::tuple<Tensor, Tensor, Tensor>& gradients,
                           const Wanted& wanted) {
  const auto& [x, weight, bias] = gradients;
  const auto given = [&](size_t i, const Tensor& gradient) {
    return wanted[i] ? gradient : Tensor();
  };
  return {given(0, x), given(1, weight), {}, given(2, bias), {}, {}, {}, {}, {}};
}

/// loss.backward() starts from 1. To look costs nothing where no device has to be waited for, and
/// what was saved can be given away where nobody comes back for it: a pass and a copy less of a
/// matrix as large as the weight.
bool can_be_given_away(const Tensor& grad) {
  return grad.is_cpu() && !at::isTensorSubclassLike(grad) && !at::GradMode::is_enabled() &&
         !torch::autograd::get_current_graph_task_keep_graph() && grad.item<double>() == 1.0;
}

struct LinearCrossEntropy : torch::autograd::Function<LinearCrossEntropy> {
  static constexpr bool is_traceable = true;

  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight,
                        const Tensor& labels, const std::optional<Tensor>& bias,
                        double label_smoothing, double z_loss, double softcap, int64_t reduction,
                        int64_t wanted_bits) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const Wanted wanted = {(wanted_bits & 1) != 0, (wanted_bits & 2) != 0, (wanted_bits & 4) != 0};
    const bool by_row = static_cast<LossReduction>(reduction) == LossReduction::none;
    std::optional<Tensor> row_grad;
    if (!by_row) {
      const auto type = at::toOpMathType(x.scalar_type());
      row_grad = row_weights(at::empty({0}, x.options().dtype(type)), labels, reduction);
    }
    auto [losses, x_grad, weight_grad, bias_grad] = dispatch::linear_cross_entropy_rows(
        x, weight, labels, bias, row_grad, label_smoothing, z_loss, softcap, wanted);
    ctx->saved_data["wanted"] = wanted_bits;
    ctx->saved_data["by_row"] = by_row;
    const auto shift = bias.value_or(Tensor());
    if (by_row) {
      ctx->save_for_backward({x, weight, shift, labels});
      ctx->saved_data["label_smoothing"] = label_smoothing;
      ctx->saved_data["z_loss"] = z_loss;
      ctx->saved_data["softcap"] = softcap;
    } else {
      ctx->save_for_backward({x, weight, shift, x_grad, weight_grad, bias_grad});
    }
    return reduce_losses(losses, labels, reduction);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto s = ctx->get_saved_variables();
    const auto bits = ctx->saved_data["wanted"].toInt();
    const Wanted wanted = {(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0};
    const auto bias = s[2].defined() ? std::optional(s[2]) : std::nullopt;
    const auto type = s[0].scalar_type();
    if (!ctx->saved_data["by_row"].toBool()) {
      if (type == s[3].scalar_type() && can_be_given_away(grads[0]))
        return of_arguments({s[3], s[4], s[5]}, wanted);
      return of_arguments(
          dispatch::linear_cross_entropy_backward(grads[0], s[0], s[1], bias, s[3], s[4], s[5]),
          wanted);
    }
    const auto [losses, x, weight, bias_grad] = dispatch::linear_cross_entropy_rows(
        s[0], s[1], s[3], bias, grads[0], ctx->saved_data["label_smoothing"].toDouble(),
        ctx->saved_data["z_loss"].toDouble(), ctx->saved_data["softcap"].toDouble(), wanted);
    return of_arguments({x.to(type), weight.to(type), bias_grad.to(type)}, wanted);
  }
};

}  // namespace

Tensor linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& labels,
                            const std::optional<Tensor>& bias, double label_smoothing,
                            double z_loss, double softcap, int64_t reduction) {
  const auto wants = [](const Tensor& t) { return t.defined() && t.requires_grad(); };
  const auto bits = (wants(x) ? 1 : 0) | (wants(weight) ? 2 : 0) | (bias && wants(*bias) ? 4 : 0);
  if (bits == 0 || !at::GradMode::is_enabled()) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    return dispatch::linear_cross_entropy(x, weight, labels, bias, label_smoothing, z_loss, softcap,
                                          reduction);
  }
  return LinearCrossEntropy::apply(x, weight, labels, bias, label_smoothing, z_loss, softcap,
                                   reduction, int64_t{bits});
}

}  // namespace weft::ops::autograd
