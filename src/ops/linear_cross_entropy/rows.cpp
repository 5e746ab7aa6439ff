#include "ops/linear_cross_entropy/rows.hpp"

#include <cmath>
#include <limits>

#include "ops/vector_loops.hpp"

namespace weft::ops::kernels {
namespace {

template <class T, class Real>
WEFT_INLINE Real largest(const T* z, int64_t n) {
  Real lanes[kLanes];
  for (int64_t j = 0; j < kLanes; ++j) lanes[j] = -std::numeric_limits<Real>::infinity();
  const int64_t whole = n / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) {
      const Real value = widen(z[i + j]);
      lanes[j] = lanes[j] < value ? value : lanes[j];
    }
  }
  for (int64_t i = whole; i < n; ++i) {
    const Real value = widen(z[i]);
    lanes[0] = lanes[0] < value ? value : lanes[0];
  }
  Real most = lanes[0];
  for (int64_t j = 1; j < kLanes; ++j) most = most < lanes[j] ? lanes[j] : most;
  return most;
}

// The label's own term stays out of the sum of exponentials: with t = log(sum of the others) - own,
// loss = log(1 + exp(t)) and 1 - p = 1 / (1 + exp(-t)) keep their digits where p nears 1.
template <class T, class Real>
WEFT_INLINE void row(const LossRows<Real>& work, T* logits, int64_t r) {
  constexpr Real kInfinity = std::numeric_limits<Real>::infinity();
  const int64_t n = work.classes, label = work.labels[r];
  T* __restrict z = logits + r * n;
  const Real own = widen(z[label]), smoothing = work.smoothing;
  const Real mean =
      smoothing > 0 ? sum<Real>(n, [z](int64_t i) { return widen(z[i]); }) / static_cast<Real>(n)
                    : own;
  narrow(-kInfinity, z + label);
  const Real most = largest<T, Real>(z, n), base = most > -kInfinity ? most : 0;
  const Real others =
      base +
      std::log(sum<Real>(n, [z, base](int64_t i) { return exponential(widen(z[i]) - base); }));
  const Real t = others - own, tail = std::log1p(std::exp(-std::abs(t)));
  const Real lse = t > 0 ? others + tail : own + tail;
  work.losses[r] = (t > 0 ? t + tail : tail) + smoothing * (own - mean) + work.z_loss * lse * lse;
  if (!work.row_grad) return;

  const Real grad = work.row_grad[r];
  const Real scale = grad * (1 + 2 * work.z_loss * lse);
  const Real uniform = grad * smoothing / static_cast<Real>(n);
  for (int64_t i = 0; i < n; ++i) narrow(scale * exponential(widen(z[i]) - lse) - uniform, z + i);
  const Real missed = std::exp((t > 0 ? 0 : t) - tail);
  narrow(grad * (smoothing - missed + 2 * work.z_loss * lse * std::exp(own - lse)) - uniform,
         z + label);
}

WEFT_CLONES void rows_of_fp32(const LossRows<float>& work, float* z, int64_t first, int64_t last) {
  for (int64_t r = first; r < last; ++r) row(work, z, r);
}

WEFT_CLONES void rows_of_bf16(const LossRows<float>& work, uint16_t* z, int64_t first,
                              int64_t last) {
  for (int64_t r = first; r < last; ++r) row(work, z, r);
}

}  // namespace

void loss_rows(const LossRows<float>& work, float* logits, int64_t first, int64_t last) {
  rows_of_fp32(work, logits, first, last);
}

void loss_rows(const LossRows<float>& work, uint16_t* logits, int64_t first, int64_t last) {
  rows_of_bf16(work, logits, first, last);
}

void loss_rows(const LossRows<double>& work, double* logits, int64_t first, int64_t last) {
  for (int64_t r = first; r < last; ++r) row(work, logits, r);
}

}  // namespace weft::ops::kernels
