#pragma once

#include <cstdint>

// Free of torch, so that the loops compile in a second and with options of their own.
namespace weft::ops::kernels {

/// x and out [B, H, T, D], elements of a head side by side; cos, sin [B or 1, T, pairs],
/// contiguous. Strides in elements.
template <class Real>
struct RopeRows {
  const Real *cos = nullptr, *sin = nullptr;
  int64_t heads = 0, tokens = 0, width = 0, pairs = 0;
  int64_t x_strides[3] = {0, 0, 0}, out_strides[3] = {0, 0, 0};  // of B, H and T
  int64_t table_batch_stride = 0;                                // 0: one table for all
  bool tokens_first = false;  // heads of a token lie together: they are taken one after the other
  bool interleaved = false, inverse = false;
};

/// Rotates the heads [first, last) of B * H * T. uint16_t: bfloat16 bits, computed in fp32.
void rotate_rows(const RopeRows<float>& work, const float* x, float* out, int64_t first,
                 int64_t last);
void rotate_rows(const RopeRows<float>& work, const uint16_t* x, uint16_t* out, int64_t first,
                 int64_t last);
void rotate_rows(const RopeRows<double>& work, const double* x, double* out, int64_t first,
                 int64_t last);

}  // namespace weft::ops::kernels
