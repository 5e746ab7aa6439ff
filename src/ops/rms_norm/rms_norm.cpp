// rms_norm: contract, specification, schema and every registration.
#include <ATen/Functions.h>
#include <ATen/OpMathType.h>
#include <ATen/TensorOperators.h>
#include <c10/core/ScalarType.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include <weft/ops/rms_norm.hpp>

#include "ops/rms_norm/backends.hpp"

namespace weft::ops {
namespace {

Tensor rms_norm_by_optional(const Tensor& x, const std::optional<Tensor>& weight, double eps) {
  return rms_norm(x, weight.value_or(Tensor()), eps);
}

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  TORCH_CHECK_VALUE(x.dim() > 0 && x.sym_size(-1) > 0,
                    "rms_norm: x must be [..., D] with D > 0, got ", x.sym_sizes());
  TORCH_CHECK_VALUE(
      !weight.defined() || (weight.dim() == 1 && weight.sym_size(0) == x.sym_size(-1)),
      "rms_norm: weight must be [", x.sym_size(-1), "], got ", weight.sym_sizes());
  TORCH_CHECK_VALUE(x.is_floating_point() && (!weight.defined() || weight.is_floating_point()),
                    "rms_norm: x and weight must be floating, got ", x.scalar_type(), " and ",
                    weight.defined() ? weight.scalar_type() : x.scalar_type());
  TORCH_CHECK_VALUE(!weight.defined() || weight.device() == x.device(),
                    "rms_norm: x and weight must be on one device, got ", x.device(), " and ",
                    weight.device());
  TORCH_CHECK_VALUE(eps >= 0, "rms_norm: eps must not be negative, got ", eps);
  return std::get<0>(
      dispatch::rms_norm(x, weight.defined() ? std::optional(weight) : std::nullopt, eps));
}

Tensor rows_together(const Tensor& x) {
  const bool together =
      x.is_non_overlapping_and_dense() && (x.sym_size(-1) == 1 || x.sym_stride(-1) == 1);
  return together ? x : x.contiguous();
}

Tensor with_rows_of(const Tensor& grad, const Tensor& x) {
  const auto like = rows_together(x);
  if (grad.sym_strides() == like.sym_strides()) return grad;
  return at::empty_like(like, grad.options()).copy_(grad);
}

at::ScalarType rms_norm_type(const Tensor& x, const std::optional<Tensor>& weight) {
  return has_weight(weight) ? c10::promoteTypes(x.scalar_type(), weight->scalar_type())
                            : x.scalar_type();
}

namespace reference {

std::tuple<Tensor, Tensor> rms_norm(const Tensor& x_in, const std::optional<Tensor>& weight,
                                    double eps) {
  const auto type = rms_norm_type(x_in, weight);
  const auto x = rows_together(x_in).to(at::toOpMathType(type));
  const auto rstd = at::rsqrt(x.square().mean(-1, true) + eps);
  const auto normed = x * rstd;
  return {(has_weight(weight) ? normed * weight->to(x.scalar_type()) : normed).to(type), rstd};
}

std::tuple<Tensor, Tensor> rms_norm_backward(const Tensor& grad_in, const Tensor& x_in,
                                             const std::optional<Tensor>& weight,
                                             const Tensor& rstd, std::array<bool, 2> wanted) {
  const auto real = rstd.scalar_type();
  const auto x = rows_together(x_in).to(real), grad = grad_in.to(real);
  auto dx = at::empty({0}, x_in.options()), dweight = at::empty({0}, x_in.options());
  if (wanted[0]) {
    const auto scaled = has_weight(weight) ? grad * weight->to(real) : grad;
    const auto along = (scaled * x).mean(-1, true) * rstd.pow(3);
    dx = (scaled * rstd - x * along).to(x_in.scalar_type());
  }
  if (wanted[1] && has_weight(weight))
    dweight =
        (grad * x * rstd).reshape_symint({-1, x.sym_size(-1)}).sum(0).to(weight->scalar_type());
  return {dx, dweight};
}

}  // namespace reference

namespace meta {

std::tuple<Tensor, Tensor> rms_norm(const Tensor& x_in, const std::optional<Tensor>& weight,
                                    double /*eps*/) {
  const auto x = rows_together(x_in);
  const auto type = rms_norm_type(x, weight);
  return {at::empty_like(x, x.options().dtype(type)),
          at::empty_like(x.narrow_symint(-1, 0, 1), x.options().dtype(at::toOpMathType(type)))};
}

std::tuple<Tensor, Tensor> rms_norm_backward(const Tensor& /*grad*/, const Tensor& x,
                                             const std::optional<Tensor>& weight,
                                             const Tensor& /*rstd*/, std::array<bool, 2> wanted) {
  const auto none = at::empty({0}, x.options());
  return {wanted[0] ? at::empty_like(rows_together(x)) : none,
          wanted[1] && has_weight(weight) ? at::empty_like(*weight) : none};
}

}  // namespace meta

namespace dispatch {

std::tuple<Tensor, Tensor> rms_norm(const Tensor& x, const std::optional<Tensor>& weight,
                                    double eps) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("weft::_rms_norm", "")
                             .typed<decltype(dispatch::rms_norm)>();
  return op.call(x, weight, eps);
}

std::tuple<Tensor, Tensor> rms_norm_backward(const Tensor& grad, const Tensor& x,
                                             const std::optional<Tensor>& weight,
                                             const Tensor& rstd, std::array<bool, 2> wanted) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("weft::_rms_norm_backward", "")
                             .typed<decltype(dispatch::rms_norm_backward)>();
  return op.call(grad, x, weight, rstd, wanted);
}

}  // namespace dispatch

TORCH_LIBRARY_FRAGMENT(weft, m) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  m.def("rms_norm(Tensor x, Tensor? weight=None, float eps=1e-06) -> Tensor", tags);
  m.def("_rms_norm(Tensor x, Tensor? weight, float eps) -> (Tensor, Tensor)", tags);
  m.def(
      "_rms_norm_backward(Tensor grad, Tensor x, Tensor? weight, Tensor rstd, bool[2] wanted)"
      " -> (Tensor, Tensor)",
      tags);
}
TORCH_LIBRARY_IMPL(weft, CompositeImplicitAutograd, m) {
  m.impl("rms_norm", TORCH_FN(rms_norm_by_optional));
}
TORCH_LIBRARY_IMPL(weft, CompositeExplicitAutograd, m) {
  m.impl("_rms_norm", TORCH_FN(reference::rms_norm));
  m.impl("_rms_norm_backward", TORCH_FN(reference::rms_norm_backward));
}
TORCH_LIBRARY_IMPL(weft, CPU, m) {
  m.impl("_rms_norm", TORCH_FN(cpu::rms_norm));
  m.impl("_rms_norm_backward", TORCH_FN(cpu::rms_norm_backward));
}
#ifdef WEFT_CUDA
TORCH_LIBRARY_IMPL(weft, CUDA, m) {
  m.impl("_rms_norm", TORCH_FN(cuda::rms_norm));
  m.impl("_rms_norm_backward", TORCH_FN(cuda::rms_norm_backward));
}
#endif
TORCH_LIBRARY_IMPL(weft, Meta, m) {
  m.impl("_rms_norm", TORCH_FN(meta::rms_norm));
  m.impl("_rms_norm_backward", TORCH_FN(meta::rms_norm_backward));
}
TORCH_LIBRARY_IMPL(weft, Autograd, m) {
  m.impl("_rms_norm", TORCH_FN(autograd::rms_norm));
  m.impl("_rms_norm_backward", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace weft::ops
