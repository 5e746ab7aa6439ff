#include "ops/rms_norm/rows.hpp"

#include <cmath>

#include "ops/vector_loops.hpp"

namespace weft::ops::kernels {
namespace {

template <class Real, class In, class Out>
WEFT_INLINE void forward(const RmsRows<Real>& work, const In* x_in, Out* out_in, int64_t first,
                         int64_t last) {
  const int64_t n = work.width;
  const Real* __restrict weight = work.weight;
  for (int64_t r = first; r < last; ++r) {
    const In* __restrict x = x_in + r * n;
    Out* __restrict out = out_in + r * n;
    const Real square = sum<Real>(n, [x](int64_t i) {
      const Real value = widen(x[i]);
      return value * value;
    });
    const Real scale = 1 / std::sqrt(square / static_cast<Real>(n) + work.eps);
    work.rstd[r] = scale;
    if (weight)
      for (int64_t i = 0; i < n; ++i) narrow(widen(x[i]) * scale * weight[i], out + i);
    else
      for (int64_t i = 0; i < n; ++i) narrow(widen(x[i]) * scale, out + i);
  }
}

// With g = grad * weight: dx = rstd g - x rstd^3 mean(g x).
template <class Real, class In, class Out>
WEFT_INLINE void backward(const RmsRows<Real>& work, const Out* grad_in, const In* x_in, In* dx_in,
                          Real* __restrict dweight, int64_t first, int64_t last) {
  const int64_t n = work.width;
  const Real* __restrict weight = work.weight;
  for (int64_t r = first; r < last; ++r) {
    const Out* __restrict grad = grad_in + r * n;
    const In* __restrict x = x_in + r * n;
    const Real scale = work.rstd[r];
    if (dweight)
      for (int64_t i = 0; i < n; ++i) dweight[i] += widen(grad[i]) * widen(x[i]) * scale;
    if (!dx_in) continue;
    In* __restrict dx = dx_in + r * n;
    const Real dot =
        weight ? sum<Real>(n, [grad, x, weight](
                                  int64_t i) { return widen(grad[i]) * weight[i] * widen(x[i]); })
               : sum<Real>(n, [grad, x](int64_t i) {
                   return static_cast<Real>(widen(grad[i]) * widen(x[i]));
                 });
    const Real along = dot / static_cast<Real>(n) * scale * scale * scale;
    if (weight)
      for (int64_t i = 0; i < n; ++i)
        narrow(widen(grad[i]) * weight[i] * scale - widen(x[i]) * along, dx + i);
    else
      for (int64_t i = 0; i < n; ++i) narrow(widen(grad[i]) * scale - widen(x[i]) * along, dx + i);
  }
}

}  // namespace

#define WEFT_RMS_ROWS(Real, In, Out)                                                               \
  WEFT_CLONES void rms_norm_rows(const RmsRows<Real>& work, const In* x, Out* out, int64_t first,  \
                                 int64_t last) {                                                   \
    forward(work, x, out, first, last);                                                            \
  }                                                                                                \
  WEFT_CLONES void rms_norm_backward_rows(const RmsRows<Real>& work, const Out* grad, const In* x, \
                                          In* dx, Real* dweight, int64_t first, int64_t last) {    \
    backward(work, grad, x, dx, dweight, first, last);                                             \
  }
WEFT_RMS_ROWS(float, float, float)
WEFT_RMS_ROWS(float, uint16_t, uint16_t)
WEFT_RMS_ROWS(float, uint16_t, float)
#undef WEFT_RMS_ROWS

void rms_norm_rows(const RmsRows<double>& work, const double* x, double* out, int64_t first,
                   int64_t last) {
  forward(work, x, out, first, last);
}

void rms_norm_backward_rows(const RmsRows<double>& work, const double* grad, const double* x,
                            double* dx, double* dweight, int64_t first, int64_t last) {
  backward(work, grad, x, dx, dweight, first, last);
}

}  // namespace weft::ops::kernels
