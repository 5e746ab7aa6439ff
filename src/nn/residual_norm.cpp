#include "nn/residual_norm.hpp"

#include <cmath>

#include "ops/vector_loops.hpp"

namespace weft::nn::kernels {
namespace {

using ops::kernels::narrow;
using ops::kernels::widen;

constexpr int64_t kLanes = 32;  // independent sums, so that the compiler may use vectors

template <class T>
WEFT_INLINE void row(const ResidualNorm& work, int64_t r) {
  const int64_t n = work.width;
  float* __restrict x = work.x + r * n;
  const T* __restrict y = work.y ? static_cast<const T*>(work.y) + r * n : nullptr;
  T* __restrict h = work.h ? static_cast<T*>(work.h) + r * n : nullptr;
  const float* __restrict weight = work.weight;
  const float* __restrict bias = work.bias;
  if (y)
    for (int64_t i = 0; i < n; ++i) x[i] += widen(y[i]);
  if (!weight) {
    if (h)
      for (int64_t i = 0; i < n; ++i) narrow(x[i], h + i);
    return;
  }
  const int64_t whole = n / kLanes * kLanes;
  float sums[kLanes] = {};
  for (int64_t i = 0; i < whole; i += kLanes)
    for (int64_t j = 0; j < kLanes; ++j) sums[j] += x[i + j];
  for (int64_t i = whole; i < n; ++i) sums[i - whole] += x[i];
  float sum = 0;
  for (int64_t j = 0; j < kLanes; ++j) sum += sums[j];
  const float mean = sum / static_cast<float>(n);
  float squares[kLanes] = {};
  for (int64_t i = 0; i < whole; i += kLanes)
    for (int64_t j = 0; j < kLanes; ++j) squares[j] += (x[i + j] - mean) * (x[i + j] - mean);
  for (int64_t i = whole; i < n; ++i) squares[i - whole] += (x[i] - mean) * (x[i] - mean);
  float square = 0;
  for (int64_t j = 0; j < kLanes; ++j) square += squares[j];
  const float scale = 1 / std::sqrt(square / static_cast<float>(n) + work.eps);
  if (work.place == NormPlace::after) {
    for (int64_t i = 0; i < n; ++i) x[i] = (x[i] - mean) * scale * weight[i] + bias[i];
    if (h)
      for (int64_t i = 0; i < n; ++i) narrow(x[i], h + i);
  } else if (h) {
    for (int64_t i = 0; i < n; ++i) narrow((x[i] - mean) * scale * weight[i] + bias[i], h + i);
  }
}

WEFT_CLONES void rows_fp32(const ResidualNorm& work, int64_t first, int64_t last) {
  for (int64_t r = first; r < last; ++r) row<float>(work, r);
}

WEFT_CLONES void rows_bf16(const ResidualNorm& work, int64_t first, int64_t last) {
  for (int64_t r = first; r < last; ++r) row<uint16_t>(work, r);
}

}  // namespace

void residual_norm(const ResidualNorm& work, int64_t first_row, int64_t last_row) {
  (work.bf16 ? rows_bf16 : rows_fp32)(work, first_row, last_row);
}

}  // namespace weft::nn::kernels
