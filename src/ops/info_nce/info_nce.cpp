// info_nce: contract, specification, schema and every registration.
#include <limits>

#include <ATen/Functions.h>
#include <ATen/OpMathType.h>
#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include <weft/ops/info_nce.hpp>

#include "ops/autocast.hpp"
#include "ops/info_nce/backends.hpp"

namespace weft::ops {

Tensor info_nce(const Tensor& image, const Tensor& text, const Tensor& scale) {
  TORCH_CHECK_VALUE(image.dim() == 2 && text.dim() == 2 && image.sym_size(0) == text.sym_size(0) &&
                        image.sym_size(1) == text.sym_size(1),
                    "info_nce: image and text must both be [N, D], got ", image.sym_sizes(),
                    " and ", text.sym_sizes());
  TORCH_CHECK_VALUE(image.sym_size(0) > 0, "info_nce: at least one pair is needed, got [0, ",
                    image.sym_size(1), "]");
  TORCH_CHECK_VALUE(scale.dim() == 0, "info_nce: scale must be [], got ", scale.sym_sizes());
  TORCH_CHECK_VALUE(image.is_floating_point() && text.is_floating_point(),
                    "info_nce: image and text must be floating, got ", image.scalar_type(), " and ",
                    text.scalar_type());
  // Under autocast the towers may differ in dtype; both are computed in fp32 there.
  TORCH_CHECK_VALUE(
      image.scalar_type() == text.scalar_type() || autocast_is_on(image.device().type()),
      "info_nce: image and text must have one dtype, got ", image.scalar_type(), " and ",
      text.scalar_type());
  TORCH_CHECK_VALUE(scale.is_floating_point(), "info_nce: scale must be floating, got ",
                    scale.scalar_type());
  TORCH_CHECK_VALUE(image.device() == text.device() && image.device() == scale.device(),
                    "info_nce: image, text and scale must be on one device, got ", image.device(),
                    ", ", text.device(), " and ", scale.device());
  return std::get<0>(dispatch::info_nce(image, text, scale));
}

namespace reference {

InfoNceOutput info_nce(const Tensor& image, const Tensor& text, const Tensor& scale) {
  const auto type = at::toOpMathType(image.scalar_type());
  auto logits = image.to(type).mm(text.to(type).t()) * scale.to(type);  // [N, N]
  const auto positive = logits.diagonal().clone();
  // The negatives relative to the positive, whose own term is 1: a loss near 0 keeps its digits.
  logits.diagonal().fill_(-std::numeric_limits<double>::infinity());
  const auto zero = at::zeros({}, logits.options());
  const auto image_nll = at::logaddexp(at::logsumexp(logits - positive.unsqueeze(1), {1}), zero);
  const auto text_nll = at::logaddexp(at::logsumexp(logits - positive, {0}), zero);
  return {(image_nll + text_nll).mean() / 2, positive, image_nll, text_nll};
}

InfoNceGradients info_nce_backward(const Tensor& grad, const Tensor& image, const Tensor& text,
                                   const Tensor& scale, const Tensor& positive,
                                   const Tensor& image_nll, const Tensor& text_nll) {
  const auto type = at::toOpMathType(image.scalar_type());
  const auto images = image.to(type), texts = text.to(type);
  const auto logits = images.mm(texts.t()) * scale.to(type);
  // 2N times the gradient of the logits: softmax over rows + softmax over columns - 2 identity.
  auto weights = at::exp(logits - (positive + image_nll).unsqueeze(1)) +
                 at::exp(logits - (positive + text_nll));
  weights.diagonal().copy_(at::expm1(-image_nll) + at::expm1(-text_nll));
  const auto image_sum = weights.mm(texts), text_sum = weights.t().mm(images);
  const auto factor = grad.to(type) / (2 * image.size(0));
  const auto scaled = factor * scale.to(type);
  return {(image_sum * scaled).to(image.scalar_type()), (text_sum * scaled).to(text.scalar_type()),
          ((images * image_sum).sum() * factor).to(scale.scalar_type())};
}

}  // namespace reference

namespace meta {

InfoNceOutput info_nce(const Tensor& image, const Tensor&, const Tensor&) {
  const auto options = image.options().dtype(at::toOpMathType(image.scalar_type()));
  const auto rows = [&] { return at::empty_symint({image.sym_size(0)}, options); };
  return {at::empty({}, options), rows(), rows(), rows()};
}

InfoNceGradients info_nce_backward(const Tensor&, const Tensor& image, const Tensor& text,
                                   const Tensor& scale, const Tensor&, const Tensor&,
                                   const Tensor&) {
  return {at::empty_symint(image.sym_sizes(), image.options()),
          at::empty_symint(text.sym_sizes(), text.options()), at::empty({}, scale.options())};
}

}  // namespace meta

namespace autocast {

template <at::DeviceType device>
InfoNceOutput info_nce(const Tensor& image, const Tensor& text, const Tensor& scale) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(
      at::autocast::get_autocast_dispatch_key_from_device_type(device));
  const auto fp32 = [](const Tensor& x) {
    return at::autocast::cached_cast(at::kFloat, x, device);
  };
  return dispatch::info_nce(fp32(image), fp32(text), fp32(scale));
}

// backward() may be called inside the autocast region, which must not reach its products.
template <at::DeviceType device>
InfoNceGradients info_nce_backward(const Tensor& grad, const Tensor& image, const Tensor& text,
                                   const Tensor& scale, const Tensor& positive,
                                   const Tensor& image_nll, const Tensor& text_nll) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(
      at::autocast::get_autocast_dispatch_key_from_device_type(device));
  return dispatch::info_nce_backward(grad, image, text, scale, positive, image_nll, text_nll);
}

}  // namespace autocast

namespace dispatch {

InfoNceOutput info_nce(const Tensor& image, const Tensor& text, const Tensor& scale) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("weft::_info_nce", "")
                             .typed<decltype(dispatch::info_nce)>();
  return op.call(image, text, scale);
}

InfoNceGradients info_nce_backward(const Tensor& grad, const Tensor& image, const Tensor& text,
                                   const Tensor& scale, const Tensor& positive,
                                   const Tensor& image_nll, const Tensor& text_nll) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("weft::_info_nce_backward", "")
                             .typed<decltype(dispatch::info_nce_backward)>();
  return op.call(grad, image, text, scale, positive, image_nll, text_nll);
}

}  // namespace dispatch

TORCH_LIBRARY_FRAGMENT(weft, m) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  m.def("info_nce(Tensor image, Tensor text, Tensor scale) -> Tensor", tags);
  m.def(
      "_info_nce(Tensor image, Tensor text, Tensor scale)"
      " -> (Tensor loss, Tensor positive, Tensor image_nll, Tensor text_nll)",
      tags);
  m.def(
      "_info_nce_backward(Tensor grad, Tensor image, Tensor text, Tensor scale, Tensor positive,"
      " Tensor image_nll, Tensor text_nll) -> (Tensor, Tensor, Tensor)",
      tags);
}
TORCH_LIBRARY_IMPL(weft, CompositeImplicitAutograd, m) { m.impl("info_nce", TORCH_FN(info_nce)); }
TORCH_LIBRARY_IMPL(weft, CompositeExplicitAutograd, m) {
  m.impl("_info_nce", TORCH_FN(reference::info_nce));
  m.impl("_info_nce_backward", TORCH_FN(reference::info_nce_backward));
}
TORCH_LIBRARY_IMPL(weft, CPU, m) {
  m.impl("_info_nce", TORCH_FN(cpu::info_nce));
  m.impl("_info_nce_backward", TORCH_FN(cpu::info_nce_backward));
}
TORCH_LIBRARY_IMPL(weft, Meta, m) {
  m.impl("_info_nce", TORCH_FN(meta::info_nce));
  m.impl("_info_nce_backward", TORCH_FN(meta::info_nce_backward));
}
TORCH_LIBRARY_IMPL(weft, Autograd, m) {
  m.impl("_info_nce", TORCH_FN(autograd::info_nce));
  m.impl("_info_nce_backward", torch::autograd::autogradNotImplementedFallback());
}
TORCH_LIBRARY_IMPL(weft, AutocastCPU, m) {
  m.impl("_info_nce", TORCH_FN(autocast::info_nce<at::kCPU>));
  m.impl("_info_nce_backward", TORCH_FN(autocast::info_nce_backward<at::kCPU>));
}
TORCH_LIBRARY_IMPL(weft, AutocastCUDA, m) {
  m.impl("_info_nce", TORCH_FN(autocast::info_nce<at::kCUDA>));
  m.impl("_info_nce_backward", TORCH_FN(autocast::info_nce_backward<at::kCUDA>));
}

}  // namespace weft::ops
