#pragma once

#include <cstdint>

// Free of torch, so that the loops compile in a second and with options of their own.
namespace weft::ops::kernels {

/// Rows of logits [rows, classes], contiguous, of which each has a label.
template <class Real>
struct LossRows {
  const int64_t* labels = nullptr;  // in [0, classes)
  const Real* row_grad = nullptr;  // d(total) / d(loss of a row); null where only losses are wanted
  Real* losses = nullptr;
  int64_t classes = 0;
  Real smoothing = 0, z_loss = 0;
};

/// Writes the losses of rows [first, last) and turns their logits into d(total) / d(logits).
/// uint16_t: bfloat16 bits, computed in fp32.
void loss_rows(const LossRows<float>& work, float* logits, int64_t first, int64_t last);
void loss_rows(const LossRows<float>& work, uint16_t* logits, int64_t first, int64_t last);
void loss_rows(const LossRows<double>& work, double* logits, int64_t first, int64_t last);

}  // namespace weft::ops::kernels
