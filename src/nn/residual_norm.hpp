#pragma once

#include <cstdint>

namespace weft::nn::kernels {

/// Where the norm stands in a block.
enum class NormPlace { before, after };

/// Rows of a residual stream, [rows, width], fp32 in and out.
///   before: x <- x + y; h <- norm(x)        after: x <- norm(x + y); h <- x
/// y may be null (nothing is added), h may be null, weight may be null (then h <- x + y, no norm).
/// y and h are fp32, or bfloat16 bits where `bf16` is set; the statistics are fp32.
struct ResidualNorm {
  float* x;
  const void* y;
  void* h;
  const float* weight;
  const float* bias;
  int64_t width;
  float eps;
  bool bf16;
  NormPlace place;
};
void residual_norm(const ResidualNorm& work, int64_t first_row, int64_t last_row);

}  // namespace weft::nn::kernels
