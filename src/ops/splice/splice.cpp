// splice: contract, specification, schema and every registration.
#include <ATen/Functions.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include <weft/ops/splice.hpp>

#include "ops/autocast.hpp"
#include "ops/splice/backends.hpp"

namespace weft::ops {

Tensor splice(const Tensor& embeddings, const Tensor& visual, const Tensor& placeholders) {
  TORCH_CHECK_VALUE(
      embeddings.dim() >= 2 && visual.dim() >= 2 && embeddings.sym_size(-1) == visual.sym_size(-1),
      "splice: embeddings must be [..., T, D] and visual [..., M, D], got ", embeddings.sym_sizes(),
      " and ", visual.sym_sizes());
  TORCH_CHECK_VALUE(
      placeholders.sym_sizes() ==
          embeddings.sym_sizes().slice(0, static_cast<size_t>(embeddings.dim() - 1)),
      "splice: placeholders must have the shape of embeddings without the last dimension, got ",
      placeholders.sym_sizes(), " for ", embeddings.sym_sizes());
  TORCH_CHECK_VALUE(placeholders.scalar_type() == at::kBool,
                    "splice: placeholders must be bool, got ", placeholders.scalar_type());
  TORCH_CHECK_VALUE(embeddings.is_floating_point() && visual.is_floating_point(),
                    "splice: embeddings and visual must be floating, got ",
                    embeddings.scalar_type(), " and ", visual.scalar_type());
  TORCH_CHECK_VALUE(embeddings.scalar_type() == visual.scalar_type() ||
                        autocast_is_on(embeddings.device().type()),
                    "splice: embeddings and visual must have one dtype, got ",
                    embeddings.scalar_type(), " and ", visual.scalar_type());
  TORCH_CHECK_VALUE(
      embeddings.device() == visual.device() && embeddings.device() == placeholders.device(),
      "splice: embeddings, visual and placeholders must be on one device, got ",
      embeddings.device(), ", ", visual.device(), " and ", placeholders.device());
  const auto width = embeddings.sym_size(-1);
  return dispatch::splice(embeddings.reshape_symint({-1, width}),
                          visual.to(embeddings.scalar_type()).reshape_symint({-1, width}),
                          placeholders.reshape({-1}))
      .view_symint(embeddings.sym_sizes());
}

namespace reference {

Tensor splice(const Tensor& embeddings, const Tensor& visual, const Tensor& placeholders) {
  return embeddings.masked_scatter(placeholders.unsqueeze(1), visual);
}

std::tuple<Tensor, Tensor> splice_backward(const Tensor& grad, const Tensor& placeholders,
                                           c10::SymInt visual_rows, std::array<bool, 2> wanted) {
  const auto mask = placeholders.unsqueeze(1);
  const auto none = [&] { return at::empty({0}, grad.options()); };
  return {
      wanted[0] ? grad.masked_fill(mask, 0) : none(),
      wanted[1] ? grad.masked_select(mask).view_symint({visual_rows, grad.sym_size(1)}) : none()};
}

}  // namespace reference

namespace meta {

Tensor splice(const Tensor& embeddings, const Tensor&, const Tensor&) {
  return at::empty_symint(embeddings.sym_sizes(), embeddings.options());
}

std::tuple<Tensor, Tensor> splice_backward(const Tensor& grad, const Tensor&,
                                           c10::SymInt visual_rows, std::array<bool, 2> wanted) {
  const auto made = [&](bool is_wanted, const c10::SymInt& rows) {
    return is_wanted ? at::empty_symint({rows, grad.sym_size(1)}, grad.options())
                     : at::empty({0}, grad.options());
  };
  return {made(wanted[0], grad.sym_size(0)), made(wanted[1], visual_rows)};
}

}  // namespace meta

namespace dispatch {

Tensor splice(const Tensor& embeddings, const Tensor& visual, const Tensor& placeholders) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("weft::_splice", "")
                             .typed<decltype(dispatch::splice)>();
  return op.call(embeddings, visual, placeholders);
}

std::tuple<Tensor, Tensor> splice_backward(const Tensor& grad, const Tensor& placeholders,
                                           c10::SymInt visual_rows, std::array<bool, 2> wanted) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("weft::_splice_backward", "")
                             .typed<decltype(dispatch::splice_backward)>();
  return op.call(grad, placeholders, std::move(visual_rows), wanted);
}

}  // namespace dispatch

TORCH_LIBRARY_FRAGMENT(weft, m) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  m.def("splice(Tensor embeddings, Tensor visual, Tensor placeholders) -> Tensor", tags);
  m.def("_splice(Tensor embeddings, Tensor visual, Tensor placeholders) -> Tensor", tags);
  m.def(
      "_splice_backward(Tensor grad, Tensor placeholders, SymInt visual_rows, bool[2] wanted)"
      " -> (Tensor, Tensor)",
      tags);
}
TORCH_LIBRARY_IMPL(weft, CompositeImplicitAutograd, m) { m.impl("splice", TORCH_FN(splice)); }
TORCH_LIBRARY_IMPL(weft, CompositeExplicitAutograd, m) {
  m.impl("_splice", TORCH_FN(reference::splice));
  m.impl("_splice_backward", TORCH_FN(reference::splice_backward));
}
TORCH_LIBRARY_IMPL(weft, CPU, m) {
  m.impl("_splice", TORCH_FN(cpu::splice));
  m.impl("_splice_backward", TORCH_FN(cpu::splice_backward));
}
#ifdef WEFT_CUDA
TORCH_LIBRARY_IMPL(weft, CUDA, m) {
  m.impl("_splice", TORCH_FN(cuda::splice));
  m.impl("_splice_backward", TORCH_FN(cuda::splice_backward));
}
#endif
TORCH_LIBRARY_IMPL(weft, Meta, m) {
  m.impl("_splice", TORCH_FN(meta::splice));
  m.impl("_splice_backward", TORCH_FN(meta::splice_backward));
}
TORCH_LIBRARY_IMPL(weft, Autograd, m) {
  m.impl("_splice", TORCH_FN(autograd::splice));
  m.impl("_splice_backward", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace weft::ops
