#include <algorithm>

#include <ATen/Functions.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>

#include "ops/huge_pages.hpp"
#include "ops/rope/backends.hpp"
#include "ops/rope/geometry.hpp"
#include "ops/rope/rows.hpp"

namespace weft::ops::cpu {
namespace {

template <class T, class Real>
void run_rope(const Tensor& x, const Tensor& cos, const Tensor& sin, const Tensor& out,
              bool interleaved, bool inverse) {
  kernels::RopeRows<Real> work;
  work.cos = cos.const_data_ptr<Real>();
  work.sin = sin.const_data_ptr<Real>();
  set_rope_geometry(work, x, cos, out);
  work.tokens_first = x.stride(1) < x.stride(2);
  work.interleaved = interleaved;
  work.inverse = inverse;
  const auto* from = static_cast<const T*>(x.const_data_ptr());
  auto* to = static_cast<T*>(out.mutable_data_ptr());
  const auto grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, work.width));
  at::parallel_for(0, x.size(0) * x.size(1) * x.size(2), grain, [&](int64_t begin, int64_t end) {
    kernels::rotate_rows(work, from, to, begin, end);
  });
}

}  // namespace

Tensor rope(const Tensor& x_in, const Tensor& cos_in, const Tensor& sin_in, bool interleaved,
            bool inverse) {
  const auto x = with_heads_together(x_in);
  const auto real = at::toOpMathType(x.scalar_type());
  const auto cos = cos_in.to(real).contiguous(), sin = sin_in.to(real).contiguous();
  auto out = with_huge_pages(at::empty_like(x));
  switch (x.scalar_type()) {
    case at::kFloat:
      run_rope<float, float>(x, cos, sin, out, interleaved, inverse);
      break;
    case at::kBFloat16:
      run_rope<uint16_t, float>(x, cos, sin, out, interleaved, inverse);
      break;
    case at::kDouble:
      run_rope<double, double>(x, cos, sin, out, interleaved, inverse);
      break;
    default:  // fp16, which few CPUs compute in
      out.copy_(rope(x.to(real), cos, sin, interleaved, inverse));
  }
  return out;
}

}  // namespace weft::ops::cpu
