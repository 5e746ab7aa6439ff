#include <ATen/Functions.h>
#include <ATen/OpMathType.h>
#include <ATen/TensorOperators.h>

#include <weft/ops/linear_cross_entropy.hpp>

#include "ops/linear_cross_entropy/backends.hpp"

namespace weft::ops {

namespace reference {

RowLosses linear_cross_entropy_rows(const Tensor& x, const Tensor& weight, const Tensor& labels,
                                    const std::optional<Tensor>& bias,
                                    const std::optional<Tensor>& row_grad, double label_smoothing,
                                    double z_loss, double softcap, Wanted wanted) {
  const auto type = at::toOpMathType(x.scalar_type());
  auto logits = at::linear(x, weight, bias.value_or(Tensor())).to(type);  // [N, V]
  if (softcap > 0) logits = softcap * at::tanh(logits / softcap);
  const auto labelled = labels.ne(kIgnoredLabel);
  const auto target = labels.where(labelled, 0).unsqueeze(1);
  const auto lse = at::logsumexp(logits, {1});
  const auto losses = lse - (1 - label_smoothing) * logits.gather(1, target).squeeze(1) -
                      label_smoothing * logits.mean(1) + z_loss * lse * lse;

  const auto grad_type = gradient_type(x.scalar_type());
  Tensor gradients[3];
  for (auto& gradient : gradients) gradient = at::empty({0}, x.options().dtype(grad_type));
  if (row_grad) {
    auto g = (logits - lse.unsqueeze(1)).exp() * (1 + 2 * z_loss * lse).unsqueeze(1);
    g = g - label_smoothing / weight.sym_size(0);
    g = g.scatter_add(1, target, at::full_like(lse.unsqueeze(1), label_smoothing - 1));
    g = g * row_grad->to(type).where(labelled, 0).unsqueeze(1);
    if (softcap > 0) g = g * (1 - (logits / softcap).square());
    if (wanted[0]) gradients[0] = g.mm(weight.to(type)).to(grad_type);
    if (wanted[1]) gradients[1] = g.t().mm(x.to(type)).to(grad_type);
    if (wanted[2]) gradients[2] = g.sum(0).to(grad_type);
  }
  return {losses.where(labelled, 0), gradients[0], gradients[1], gradients[2]};
}

}  // namespace reference

namespace composite {

Tensor linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& labels,
                            const std::optional<Tensor>& bias, double label_smoothing,
                            double z_loss, double softcap, int64_t reduction) {
  const auto losses = std::get<0>(dispatch::linear_cross_entropy_rows(
      x, weight, labels, bias, {}, label_smoothing, z_loss, softcap, {}));
  return reduce_losses(losses, labels, reduction);
}

std::tuple<Tensor, Tensor, Tensor> linear_cross_entropy_backward(
    const Tensor& grad, const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
    const Tensor& x_grad, const Tensor& weight_grad, const Tensor& bias_grad) {
  const auto scaled = [&](const Tensor& gradient, at::ScalarType type) {
    return (gradient * grad).to(type);
  };
  return {scaled(x_grad, x.scalar_type()), scaled(weight_grad, weight.scalar_type()),
          scaled(bias_grad, bias && bias->defined() ? bias->scalar_type() : x.scalar_type())};
}

}  // namespace composite

}  // namespace weft::ops
