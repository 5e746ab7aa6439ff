#pragma once

#include <cstdint>

/// One token through a decoder, as loops over the weights where they lie: a matrix is read once for
/// all rows of a small batch, and no tensor is made. Free of torch. Activations are fp32; weights
/// and caches fp32 or bf16 (its bits).
namespace weft::text::kernels {

enum class Gate { silu, gelu, gelu_tanh, relu };

/// weight [rows, columns]; bias [rows] or null; both of one type.
struct Matrix {
  const void* weight = nullptr;
  const void* bias = nullptr;
  int64_t rows = 0, columns = 0;
  bool bf16 = false;
};

/// out [n] = x / sqrt(mean x^2 + eps) * weight.
void rms_norm(const float* x, const void* weight, bool bf16, int64_t n, float eps, float* out);

/// out[b, r] = (add ? out[b, r] : 0) + weight[r] . x[b] + bias[r] for rows first to last;
/// x [batch, columns], out [batch, rows].
void multiply(const Matrix& matrix, const float* x, int64_t batch, int64_t first, int64_t last,
              bool add, float* out);

/// out[b, r] = act(gate[r] . x[b]) * (up[r] . x[b]); out [batch, rows].
void multiply_gated(const Matrix& gate, const Matrix& up, Gate act, const float* x, int64_t batch,
                    int64_t first, int64_t last, float* out);

/// x [heads, head_dim], of one token: dimension i of each head turns with i + half; cos, sin
/// [half].
void rotate(float* x, int64_t heads, int64_t head_dim, const float* cos, const float* sin,
            int64_t half);

struct Attention {
  const float* queries = nullptr;  ///< [batch, heads, head_dim]
  const void* keys = nullptr;      ///< [batch, kv_heads, ., head_dim], strides in elements below
  const void* values = nullptr;
  const bool* mask = nullptr;  ///< [batch, tokens], true = real; null = all
  float* out = nullptr;        ///< [batch, heads, head_dim]
  float* scores = nullptr;     ///< room for [batch, heads, tokens]
  int64_t heads = 0, kv_heads = 0, head_dim = 0, tokens = 0;
  int64_t batch_stride = 0, head_stride = 0;
  int64_t first_token = 0;  ///< tokens in front of it are out of the window
  float scale = 0;
  bool bf16 = false;
};
/// Items first to last of batch * kv_heads.
void attend(const Attention& work, int64_t first, int64_t last);

}  // namespace weft::text::kernels
