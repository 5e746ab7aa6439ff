// torch has the kernels: of one type for all tensors, and contiguous rows.
#include <algorithm>
#include <numeric>

#include <ATen/Functions.h>
#include <ATen/ops/_fused_rms_norm.h>
#include <ATen/ops/_fused_rms_norm_backward.h>

#include "ops/rms_norm/backends.hpp"

namespace weft::ops::cuda {
namespace {

/// Permutes dense tensors [..., D] into the order of their memory, and back.
class MemoryOrder {
 public:
  explicit MemoryOrder(const Tensor& x)
      : there_(static_cast<size_t>(x.dim())), back_(static_cast<size_t>(x.dim())) {
    std::iota(there_.begin(), there_.end(), int64_t{0});
    std::stable_sort(there_.begin(), there_.end() - 1,
                     [&](int64_t a, int64_t b) { return x.stride(a) > x.stride(b); });
    for (size_t i = 0; i < there_.size(); ++i)
      back_[static_cast<size_t>(there_[i])] = static_cast<int64_t>(i);
  }

  Tensor rows(const Tensor& x, at::ScalarType type) const {
    return x.permute(there_).to(type).contiguous();
  }
  Tensor undo(const Tensor& rows) const { return rows.permute(back_); }

 private:
  std::vector<int64_t> there_, back_;
};

std::optional<Tensor> weight_as(const std::optional<Tensor>& weight, at::ScalarType type) {
  return has_weight(weight) ? std::optional(weight->to(type)) : std::nullopt;
}

}  // namespace

std::tuple<Tensor, Tensor> rms_norm(const Tensor& x_in, const std::optional<Tensor>& weight,
                                    double eps) {
  if (x_in.numel() == 0) return reference::rms_norm(x_in, weight, eps);
  const auto x = rows_together(x_in);
  const MemoryOrder order(x);
  const auto type = rms_norm_type(x, weight);
  const auto [out, rstd] =
      at::_fused_rms_norm(order.rows(x, type), {x.size(-1)}, weight_as(weight, type), eps);
  return {order.undo(out), order.undo(rstd)};
}

std::tuple<Tensor, Tensor> rms_norm_backward(const Tensor& grad, const Tensor& x_in,
                                             const std::optional<Tensor>& weight,
                                             const Tensor& rstd, std::array<bool, 2> wanted) {
  wanted[1] = wanted[1] && has_weight(weight);
  if (x_in.numel() == 0 || !(wanted[0] || wanted[1]))
    return reference::rms_norm_backward(grad, x_in, weight, rstd, wanted);
  const auto x = rows_together(x_in);
  const MemoryOrder order(x);
  const auto type = rms_norm_type(x, weight);
  const auto [dx, dweight] = at::_fused_rms_norm_backward(
      order.rows(grad, type), order.rows(x, type), {x.size(-1)},
      order.rows(rstd, rstd.scalar_type()), weight_as(weight, type), wanted);
  const auto none = at::empty({0}, x.options());
  return {wanted[0] ? order.undo(dx).to(x.scalar_type()) : none,
          wanted[1] ? dweight.to(weight->scalar_type()) : none};
}

}  // namespace weft::ops::cuda
