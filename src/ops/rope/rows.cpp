#include "ops/rope/rows.hpp"

#include <cstring>

#include "ops/vector_loops.hpp"

namespace weft::ops::kernels {
namespace {

template <class T, class Real>
WEFT_INLINE void rotate_half(const T* __restrict x, T* __restrict out, const Real* __restrict cos,
                             const Real* __restrict sin, int64_t pairs, Real sign) {
  for (int64_t i = 0; i < pairs; ++i) {
    const Real a = widen(x[i]), b = widen(x[i + pairs]), c = cos[i], s = sign * sin[i];
    narrow(a * c - b * s, out + i);
    narrow(b * c + a * s, out + i + pairs);
  }
}

template <class T, class Real>
WEFT_INLINE void rotate_interleaved(const T* __restrict x, T* __restrict out,
                                    const Real* __restrict cos, const Real* __restrict sin,
                                    int64_t pairs, Real sign) {
  for (int64_t i = 0; i < pairs; ++i) {
    const Real a = widen(x[2 * i]), b = widen(x[2 * i + 1]), c = cos[i], s = sign * sin[i];
    narrow(a * c - b * s, out + 2 * i);
    narrow(b * c + a * s, out + 2 * i + 1);
  }
}

template <class T, class Real>
WEFT_INLINE void rotate(const RopeRows<Real>& work, const T* x, T* out, int64_t first,
                        int64_t last) {
  const int64_t inner = work.tokens_first ? work.heads : work.tokens;
  const int64_t outer = work.tokens_first ? work.tokens : work.heads;
  const Real sign = work.inverse ? Real(-1) : Real(1);
  const auto rest = static_cast<size_t>(work.width - 2 * work.pairs);
  for (int64_t row = first; row < last; ++row) {
    const int64_t b = row / (outer * inner), i = row / inner % outer, j = row % inner;
    const int64_t h = work.tokens_first ? j : i, t = work.tokens_first ? i : j;
    const T* from = x + b * work.x_strides[0] + h * work.x_strides[1] + t * work.x_strides[2];
    T* to = out + b * work.out_strides[0] + h * work.out_strides[1] + t * work.out_strides[2];
    const int64_t table = b * work.table_batch_stride + t * work.pairs;
    if (work.interleaved)
      rotate_interleaved(from, to, work.cos + table, work.sin + table, work.pairs, sign);
    else
      rotate_half(from, to, work.cos + table, work.sin + table, work.pairs, sign);
    if (rest > 0) std::memcpy(to + 2 * work.pairs, from + 2 * work.pairs, rest * sizeof(T));
  }
}

WEFT_CLONES void rotate_fp32(const RopeRows<float>& work, const float* x, float* out, int64_t first,
                             int64_t last) {
  rotate(work, x, out, first, last);
}

WEFT_CLONES void rotate_bf16(const RopeRows<float>& work, const uint16_t* x, uint16_t* out,
                             int64_t first, int64_t last) {
  rotate(work, x, out, first, last);
}

}  // namespace

void rotate_rows(const RopeRows<float>& work, const float* x, float* out, int64_t first,
                 int64_t last) {
  rotate_fp32(work, x, out, first, last);
}

void rotate_rows(const RopeRows<float>& work, const uint16_t* x, uint16_t* out, int64_t first,
                 int64_t last) {
  rotate_bf16(work, x, out, first, last);
}

void rotate_rows(const RopeRows<double>& work, const double* x, double* out, int64_t first,
                 int64_t last) {
  rotate(work, x, out, first, last);
}

}  // namespace weft::ops::kernels
