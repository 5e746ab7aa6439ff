// sigmoid_loss: contract, specification, schema and every registration.
#include <ATen/Functions.h>
#include <ATen/OpMathType.h>
#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include <weft/ops/sigmoid_loss.hpp>

#include "ops/autocast.hpp"
#include "ops/sigmoid_loss/backends.hpp"

namespace weft::ops {

Tensor sigmoid_loss(const Tensor& image, const Tensor& text, const Tensor& scale,
                    const Tensor& bias) {
  TORCH_CHECK_VALUE(image.dim() == 2 && text.dim() == 2 && image.sym_size(0) == text.sym_size(0) &&
                        image.sym_size(1) == text.sym_size(1),
                    "sigmoid_loss: image and text must both be [N, D], got ", image.sym_sizes(),
                    " and ", text.sym_sizes());
  TORCH_CHECK_VALUE(image.sym_size(0) > 0, "sigmoid_loss: at least one pair is needed, got [0, ",
                    image.sym_size(1), "]");
  TORCH_CHECK_VALUE(scale.dim() == 0 && bias.dim() == 0,
                    "sigmoid_loss: scale and bias must be [], got ", scale.sym_sizes(), " and ",
                    bias.sym_sizes());
  TORCH_CHECK_VALUE(image.is_floating_point() && text.is_floating_point() &&
                        scale.is_floating_point() && bias.is_floating_point(),
                    "sigmoid_loss: image, text, scale and bias must be floating, got ",
                    image.scalar_type(), ", ", text.scalar_type(), ", ", scale.scalar_type(),
                    " and ", bias.scalar_type());
  // Under autocast the towers may differ in dtype; both are computed in fp32 there.
  TORCH_CHECK_VALUE(
      image.scalar_type() == text.scalar_type() || autocast_is_on(image.device().type()),
      "sigmoid_loss: image and text must have one dtype, got ", image.scalar_type(), " and ",
      text.scalar_type());
  TORCH_CHECK_VALUE(image.device() == text.device() && image.device() == scale.device() &&
                        image.device() == bias.device(),
                    "sigmoid_loss: image, text, scale and bias must be on one device, got ",
                    image.device(), ", ", text.device(), ", ", scale.device(), " and ",
                    bias.device());
  return dispatch::sigmoid_loss(image, text, scale, bias);
}

namespace reference {

Tensor sigmoid_loss(const Tensor& image, const Tensor& text, const Tensor& scale,
                    const Tensor& bias) {
  const auto type = at::toOpMathType(image.scalar_type());
  auto logits = image.to(type).mm(text.to(type).t()) * scale.to(type) + bias.to(type);  // [N, N]
  // -log sigmoid(-s) = softplus(s), and -log sigmoid(s) = softplus(-s).
  logits.diagonal().neg_();
  return -at::log_sigmoid(-logits).sum() / image.size(0);
}

SigmoidLossGradients sigmoid_loss_backward(const Tensor& grad, const Tensor& image,
                                           const Tensor& text, const Tensor& scale,
                                           const Tensor& bias) {
  const auto type = at::toOpMathType(image.scalar_type());
  const auto images = image.to(type), texts = text.to(type);
  const auto logits = images.mm(texts.t()) * scale.to(type) + bias.to(type);
  // N times the gradient of the logits; sigmoid(s) - 1 loses its digits where sigmoid(s) nears 1.
  auto weights = at::sigmoid(logits);
  weights.diagonal().copy_(-at::sigmoid(-logits.diagonal()));
  const auto image_sum = weights.mm(texts), text_sum = weights.t().mm(images);
  const auto factor = grad.to(type) / image.size(0);
  const auto scaled = factor * scale.to(type);
  return {(image_sum * scaled).to(image.scalar_type()), (text_sum * scaled).to(text.scalar_type()),
          ((images * image_sum).sum() * factor).to(scale.scalar_type()),
          (weights.sum() * factor).to(bias.scalar_type())};
}

}  // namespace reference

namespace meta {

Tensor sigmoid_loss(const Tensor& image, const Tensor&, const Tensor&, const Tensor&) {
  return at::empty({}, image.options().dtype(at::toOpMathType(image.scalar_type())));
}

SigmoidLossGradients sigmoid_loss_backward(const Tensor&, const Tensor& image, const Tensor& text,
                                           const Tensor& scale, const Tensor& bias) {
  return {at::empty_symint(image.sym_sizes(), image.options()),
          at::empty_symint(text.sym_sizes(), text.options()), at::empty({}, scale.options()),
          at::empty({}, bias.options())};
}

}  // namespace meta

namespace autocast {

template <at::DeviceType device>
Tensor sigmoid_loss(const Tensor& image, const Tensor& text, const Tensor& scale,
                    const Tensor& bias) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(
      at::autocast::get_autocast_dispatch_key_from_device_type(device));
  const auto fp32 = [](const Tensor& x) {
    return at::autocast::cached_cast(at::kFloat, x, device);
  };
  return dispatch::sigmoid_loss(fp32(image), fp32(text), fp32(scale), fp32(bias));
}

// backward() may be called inside the autocast region, which must not reach its products.
template <at::DeviceType device>
SigmoidLossGradients sigmoid_loss_backward(const Tensor& grad, const Tensor& image,
                                           const Tensor& text, const Tensor& scale,
                                           const Tensor& bias) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(
      at::autocast::get_autocast_dispatch_key_from_device_type(device));
  return dispatch::sigmoid_loss_backward(grad, image, text, scale, bias);
}

}  // namespace autocast

namespace dispatch {

Tensor sigmoid_loss(const Tensor& image, const Tensor& text, const Tensor& scale,
                    const Tensor& bias) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("weft::_sigmoid_loss", "")
                             .typed<decltype(dispatch::sigmoid_loss)>();
  return op.call(image, text, scale, bias);
}

SigmoidLossGradients sigmoid_loss_backward(const Tensor& grad, const Tensor& image,
                                           const Tensor& text, const Tensor& scale,
                                           const Tensor& bias) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("weft::_sigmoid_loss_backward", "")
                             .typed<decltype(dispatch::sigmoid_loss_backward)>();
  return op.call(grad, image, text, scale, bias);
}

}  // namespace dispatch

TORCH_LIBRARY_FRAGMENT(weft, m) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  m.def("sigmoid_loss(Tensor image, Tensor text, Tensor scale, Tensor bias) -> Tensor", tags);
  m.def("_sigmoid_loss(Tensor image, Tensor text, Tensor scale, Tensor bias) -> Tensor", tags);
  m.def(
      "_sigmoid_loss_backward(Tensor grad, Tensor image, Tensor text, Tensor scale, Tensor bias)"
      " -> (Tensor, Tensor, Tensor, Tensor)",
      tags);
}
TORCH_LIBRARY_IMPL(weft, CompositeImplicitAutograd, m) {
  m.impl("sigmoid_loss", TORCH_FN(sigmoid_loss));
}
TORCH_LIBRARY_IMPL(weft, CompositeExplicitAutograd, m) {
  m.impl("_sigmoid_loss", TORCH_FN(reference::sigmoid_loss));
  m.impl("_sigmoid_loss_backward", TORCH_FN(reference::sigmoid_loss_backward));
}
TORCH_LIBRARY_IMPL(weft, CPU, m) {
  m.impl("_sigmoid_loss", TORCH_FN(cpu::sigmoid_loss));
  m.impl("_sigmoid_loss_backward", TORCH_FN(cpu::sigmoid_loss_backward));
}
TORCH_LIBRARY_IMPL(weft, Meta, m) {
  m.impl("_sigmoid_loss", TORCH_FN(meta::sigmoid_loss));
  m.impl("_sigmoid_loss_backward", TORCH_FN(meta::sigmoid_loss_backward));
}
TORCH_LIBRARY_IMPL(weft, Autograd, m) {
  m.impl("_sigmoid_loss", TORCH_FN(autograd::sigmoid_loss));
  m.impl("_sigmoid_loss_backward", torch::autograd::autogradNotImplementedFallback());
}
TORCH_LIBRARY_IMPL(weft, AutocastCPU, m) {
  m.impl("_sigmoid_loss", TORCH_FN(autocast::sigmoid_loss<at::kCPU>));
  m.impl("_sigmoid_loss_backward", TORCH_FN(autocast::sigmoid_loss_backward<at::kCPU>));
}
TORCH_LIBRARY_IMPL(weft, AutocastCUDA, m) {
  m.impl("_sigmoid_loss", TORCH_FN(autocast::sigmoid_loss<at::kCUDA>));
  m.impl("_sigmoid_loss_backward", TORCH_FN(autocast::sigmoid_loss_backward<at::kCUDA>));
}

}  // namespace weft::ops
