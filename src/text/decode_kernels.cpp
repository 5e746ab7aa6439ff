#include "text/decode_kernels.hpp"

#include <algorithm>
#include <cmath>

#include "ops/vector_loops.hpp"

namespace weft::text::kernels {
namespace {

using ops::kernels::exponential;
using ops::kernels::widen;

constexpr int64_t kLanes = 64;  // independent sums, so that the compiler may use vectors

template <class T>
WEFT_INLINE float dot(const T* __restrict w, const float* __restrict x, int64_t n) {
  float sums[kLanes] = {};
  const int64_t whole = n / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes)
    for (int64_t j = 0; j < kLanes; ++j) sums[j] += widen(w[i + j]) * x[i + j];
  for (int64_t i = whole; i < n; ++i) sums[i - whole] += widen(w[i]) * x[i];
  for (int64_t width = kLanes / 2; width > 0; width /= 2)
    for (int64_t j = 0; j < width; ++j) sums[j] += sums[j + width];
  return sums[0];
}

// 1 / (1 + e^-x), for any x.
WEFT_INLINE float sigmoid(float x) {
  const float small = exponential(-std::abs(x));
  return (x >= 0 ? 1.0F : small) / (1.0F + small);
}

WEFT_INLINE float gated(Gate act, float x) {
  switch (act) {
    case Gate::silu:
      return x * sigmoid(x);
    case Gate::gelu:
      return 0.5F * x * (1.0F + std::erf(x * 0.70710678F));
    case Gate::gelu_tanh:  // tanh(y) = 2 sigmoid(2y) - 1
      return x * sigmoid(1.5957691216F * (x + 0.044715F * x * x * x));
    case Gate::relu:
      return std::max(x, 0.0F);
  }
  return x;
}

template <class T>
WEFT_INLINE void norm_rows(const float* x, const T* weight, int64_t n, float eps, float* out) {
  const float scale = 1.0F / std::sqrt(dot(x, x, n) / static_cast<float>(n) + eps);
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * scale * widen(weight[i]);
}

template <class T>
WEFT_INLINE void multiply_rows(const Matrix& m, const float* x, int64_t batch, int64_t first,
                               int64_t last, bool add, float* out) {
  const auto* weight = static_cast<const T*>(m.weight);
  const auto* bias = static_cast<const T*>(m.bias);
  for (int64_t r = first; r < last; ++r) {
    const float start = bias ? widen(bias[r]) : 0.0F;
    for (int64_t b = 0; b < batch; ++b) {
      float& to = out[b * m.rows + r];
      to = (add ? to : 0.0F) + start + dot(weight + r * m.columns, x + b * m.columns, m.columns);
    }
  }
}

template <class T>
WEFT_INLINE void gated_rows(const Matrix& gate, const Matrix& up, Gate act, const float* x,
                            int64_t batch, int64_t first, int64_t last, float* out) {
  const auto* left = static_cast<const T*>(gate.weight);
  const auto* right = static_cast<const T*>(up.weight);
  const auto* left_bias = static_cast<const T*>(gate.bias);
  const auto* right_bias = static_cast<const T*>(up.bias);
  const int64_t n = gate.columns;
  for (int64_t r = first; r < last; ++r) {
    for (int64_t b = 0; b < batch; ++b) {
      const float g = dot(left + r * n, x + b * n, n) + (left_bias ? widen(left_bias[r]) : 0.0F);
      const float u = dot(right + r * n, x + b * n, n) + (right_bias ? widen(right_bias[r]) : 0.0F);
      out[b * gate.rows + r] = gated(act, g) * u;
    }
  }
}

template <class T>
WEFT_INLINE void attend_items(const Attention& a, int64_t first, int64_t last) {
  const int64_t d = a.head_dim, group = a.heads / a.kv_heads;
  for (int64_t item = first; item < last; ++item) {
    const int64_t b = item / a.kv_heads, kv = item % a.kv_heads;
    const auto* keys = static_cast<const T*>(a.keys) + b * a.batch_stride + kv * a.head_stride;
    const auto* values = static_cast<const T*>(a.values) + b * a.batch_stride + kv * a.head_stride;
    const bool* mask = a.mask ? a.mask + b * a.tokens : nullptr;
    for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
      const float* q = a.queries + (b * a.heads + h) * d;
      float* scores = a.scores + (b * a.heads + h) * a.tokens;
      float* out = a.out + (b * a.heads + h) * d;
      float largest = -INFINITY;
      for (int64_t t = a.first_token; t < a.tokens; ++t) {
        const bool seen = !mask || mask[t] || t + 1 == a.tokens;
        scores[t] = seen ? dot(keys + t * d, q, d) * a.scale : -INFINITY;
        largest = std::max(largest, scores[t]);
      }
      float sum = 0;
      for (int64_t t = a.first_token; t < a.tokens; ++t) {
        scores[t] = exponential(scores[t] - largest);
        sum += scores[t];
      }
      for (int64_t i = 0; i < d; ++i) out[i] = 0;
      for (int64_t t = a.first_token; t < a.tokens; ++t) {
        const float weight = scores[t] / sum;
        for (int64_t i = 0; i < d; ++i) out[i] += weight * widen(values[t * d + i]);
      }
    }
  }
}

WEFT_CLONES void norm_bf16(const float* x, const uint16_t* weight, int64_t n, float eps,
                           float* out) {
  norm_rows(x, weight, n, eps, out);
}
WEFT_CLONES void norm_fp32(const float* x, const float* weight, int64_t n, float eps, float* out) {
  norm_rows(x, weight, n, eps, out);
}
WEFT_CLONES void multiply_bf16(const Matrix& m, const float* x, int64_t batch, int64_t first,
                               int64_t last, bool add, float* out) {
  multiply_rows<uint16_t>(m, x, batch, first, last, add, out);
}
WEFT_CLONES void multiply_fp32(const Matrix& m, const float* x, int64_t batch, int64_t first,
                               int64_t last, bool add, float* out) {
  multiply_rows<float>(m, x, batch, first, last, add, out);
}
WEFT_CLONES void gated_bf16(const Matrix& gate, const Matrix& up, Gate act, const float* x,
                            int64_t batch, int64_t first, int64_t last, float* out) {
  gated_rows<uint16_t>(gate, up, act, x, batch, first, last, out);
}
WEFT_CLONES void gated_fp32(const Matrix& gate, const Matrix& up, Gate act, const float* x,
                            int64_t batch, int64_t first, int64_t last, float* out) {
  gated_rows<float>(gate, up, act, x, batch, first, last, out);
}
WEFT_CLONES void attend_bf16(const Attention& work, int64_t first, int64_t last) {
  attend_items<uint16_t>(work, first, last);
}
WEFT_CLONES void attend_fp32(const Attention& work, int64_t first, int64_t last) {
  attend_items<float>(work, first, last);
}

}  // namespace

void rms_norm(const float* x, const void* weight, bool bf16, int64_t n, float eps, float* out) {
  if (bf16)
    norm_bf16(x, static_cast<const uint16_t*>(weight), n, eps, out);
  else
    norm_fp32(x, static_cast<const float*>(weight), n, eps, out);
}

void multiply(const Matrix& matrix, const float* x, int64_t batch, int64_t first, int64_t last,
              bool add, float* out) {
  (matrix.bf16 ? multiply_bf16 : multiply_fp32)(matrix, x, batch, first, last, add, out);
}

void multiply_gated(const Matrix& gate, const Matrix& up, Gate act, const float* x, int64_t batch,
                    int64_t first, int64_t last, float* out) {
  (gate.bf16 ? gated_bf16 : gated_fp32)(gate, up, act, x, batch, first, last, out);
}

void rotate(float* x, int64_t heads, int64_t head_dim, const float* cos, const float* sin,
            int64_t half) {
  for (int64_t h = 0; h < heads; ++h) {
    float* head = x + h * head_dim;
    for (int64_t i = 0; i < half; ++i) {
      const float a = head[i], b = head[i + half];
      head[i] = a * cos[i] - b * sin[i];
      head[i + half] = b * cos[i] + a * sin[i];
    }
  }
}

void attend(const Attention& work, int64_t first, int64_t last) {
  (work.bf16 ? attend_bf16 : attend_fp32)(work, first, last);
}

}  // namespace weft::text::kernels
