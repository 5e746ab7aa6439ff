#pragma once

#include <cstdint>

// Free of torch, so that the loops compile in a second and with options of their own.
namespace weft::ops::kernels {

/// x [rows, width] and weight [width], null = 1; rstd [rows] is written forward and read backward.
template <class Real>
struct RmsRows {
  const Real* weight = nullptr;
  Real* rstd = nullptr;
  int64_t width = 0;
  Real eps = 0;
};

/// Rows [first, last). uint16_t: bfloat16 bits, computed in fp32. backward writes dx where it is
/// not null and adds to dweight [width] where it is not null.
#define WEFT_RMS_ROWS(Real, In, Out)                                                           \
  void rms_norm_rows(const RmsRows<Real>& work, const In* x, Out* out, int64_t first,          \
                     int64_t last);                                                            \
  void rms_norm_backward_rows(const RmsRows<Real>& work, const Out* grad, const In* x, In* dx, \
                              Real* dweight, int64_t first, int64_t last);
WEFT_RMS_ROWS(float, float, float)
WEFT_RMS_ROWS(float, uint16_t, uint16_t)
WEFT_RMS_ROWS(float, uint16_t, float)
WEFT_RMS_ROWS(double, double, double)
#undef WEFT_RMS_ROWS

}  // namespace weft::ops::kernels
