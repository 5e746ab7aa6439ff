#include <algorithm>

#include <ATen/Functions.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>

#include "ops/huge_pages.hpp"
#include "ops/rms_norm/backends.hpp"
#include "ops/rms_norm/rows.hpp"

namespace weft::ops::cpu {
namespace {

/// Rows whose part of the weight's gradient is summed one after the other, at least; of many rows
/// there are kParts such parts, whatever the number of threads.
constexpr int64_t kRowsOfAPart = 16, kParts = 64;

/// Calls f<In, Out, Real>() for the types of x and of the result; false where the loops have none.
template <class F>
bool with_types(at::ScalarType in, at::ScalarType out, const F& f) {
  if (in == at::kFloat && out == at::kFloat)
    f.template operator()<float, float, float>();
  else if (in == at::kBFloat16 && out == at::kBFloat16)
    f.template operator()<uint16_t, uint16_t, float>();
  else if (in == at::kBFloat16 && out == at::kFloat)
    f.template operator()<uint16_t, float, float>();
  else if (in == at::kDouble && out == at::kDouble)
    f.template operator()<double, double, double>();
  else
    return false;
  return true;
}

template <class Real>
kernels::RmsRows<Real> rms_rows(const Tensor& weight, const Tensor& rstd, int64_t width,
                                double eps) {
  return {.weight = weight.defined() ? weight.const_data_ptr<Real>() : nullptr,
          .rstd = rstd.data_ptr<Real>(),
          .width = width,
          .eps = static_cast<Real>(eps)};
}

Tensor wide_weight(const std::optional<Tensor>& weight, at::ScalarType real) {
  return has_weight(weight) ? weight->to(real).contiguous() : Tensor();
}

}  // namespace

std::tuple<Tensor, Tensor> rms_norm(const Tensor& x_in, const std::optional<Tensor>& weight_in,
                                    double eps) {
  const auto x = rows_together(x_in);
  const auto type = rms_norm_type(x, weight_in);
  const auto real = at::toOpMathType(type);
  const auto weight = wide_weight(weight_in, real);
  const auto out = with_huge_pages(at::empty_like(x, x.options().dtype(type)));
  const auto rstd = at::empty_like(x.narrow(-1, 0, 1), x.options().dtype(real));
  const auto width = x.size(-1), rows = x.numel() / width;
  const auto grain = std::max<int64_t>(1, 16384 / width);
  const bool done = with_types(x.scalar_type(), type, [&]<class In, class Out, class Real>() {
    const auto work = rms_rows<Real>(weight, rstd, width, eps);
    const auto* from = static_cast<const In*>(x.const_data_ptr());
    auto* to = static_cast<Out*>(out.mutable_data_ptr());
    at::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
      kernels::rms_norm_rows(work, from, to, begin, end);
    });
  });
  if (!done) return reference::rms_norm(x_in, weight_in, eps);
  return {out, rstd};
}

std::tuple<Tensor, Tensor> rms_norm_backward(const Tensor& grad_in, const Tensor& x_in,
                                             const std::optional<Tensor>& weight_in,
                                             const Tensor& rstd, std::array<bool, 2> wanted) {
  wanted[1] = wanted[1] && has_weight(weight_in);
  const auto x = rows_together(x_in);
  const auto grad = with_rows_of(grad_in, x);
  const auto real = rstd.scalar_type();
  const auto weight = wide_weight(weight_in, real);
  auto dx = wanted[0] ? with_huge_pages(at::empty_like(x)) : at::empty({0}, x.options());
  auto dweight = at::empty({0}, x.options());
  const auto width = x.size(-1), rows = x.numel() / width;
  const auto part = std::max(kRowsOfAPart, (rows + kParts - 1) / kParts);
  const auto parts = (rows + part - 1) / part;
  const auto sums = wanted[1] ? at::zeros({parts, width}, rstd.options()) : Tensor();
  const auto run = [&]<class In, class Out, class Real>() {
    const auto work = rms_rows<Real>(weight, rstd, width, 0);
    const auto* from = static_cast<const In*>(x.const_data_ptr());
    const auto* above = static_cast<const Out*>(grad.const_data_ptr());
    auto* x_grad = wanted[0] ? static_cast<In*>(dx.mutable_data_ptr()) : nullptr;
    auto* all = wanted[1] ? sums.template data_ptr<Real>() : nullptr;
    at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
      for (auto p = begin; p < end; ++p)
        kernels::rms_norm_backward_rows(work, above, from, x_grad, all ? all + p * width : nullptr,
                                        p * part, std::min(rows, (p + 1) * part));
    });
  };
  const bool done = with_types(x.scalar_type(), grad.scalar_type(), run);
  if (!done) return reference::rms_norm_backward(grad_in, x_in, weight_in, rstd, wanted);
  if (wanted[1]) dweight = sums.sum(0).to(weight_in->scalar_type());
  return {dx, dweight};
}

}  // namespace weft::ops::cpu
