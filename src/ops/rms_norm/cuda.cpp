#include <ATen/Functions.h>
#include <ATen/OpMathType.h>
#include <ATen/ops/_fused_rms_norm.h>
#include <ATen/ops/_fused_rms_norm_backward.h>

#include "ops/rms_norm/backends.hpp"

namespace weft::ops::cuda {
namespace {

/// Where torch's kernels do as the reference: rows that lie one after the other in contiguous
/// order, with a weight of their type.
bool applies(const Tensor& x, const std::optional<Tensor>& weight) {
  return x.is_contiguous() && x.numel() > 0 &&
         (!weight || weight->scalar_type() == x.scalar_type());
}

}  // namespace

std::tuple<Tensor, Tensor> rms_norm(const Tensor& x, const std::optional<Tensor>& weight,
                                    double eps) {
  if (!applies(x, weight)) return reference::rms_norm(x, weight, eps);
  return at::_fused_rms_norm(x, {x.size(-1)}, weight, eps);
}

std::tuple<Tensor, Tensor> rms_norm_backward(const Tensor& grad, const Tensor& x,
                                             const std::optional<Tensor>& weight,
                                             const Tensor& rstd, std::array<bool, 2> wanted) {
  if (!applies(x, weight) || grad.scalar_type() != x.scalar_type())
    return reference::rms_norm_backward(grad, x, weight, rstd, wanted);
  auto [dx, dweight] =
      at::_fused_rms_norm_backward(grad.contiguous(), x, {x.size(-1)}, rstd, weight, wanted);
  const auto none = at::empty({0}, x.options());
  return {wanted[0] ? dx : none, wanted[1] ? dweight : none};
}

}  // namespace weft::ops::cuda
