#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace weft::io {

/// Fractional bits of a coefficient: 32 minus 8 of the pixel minus 2 for the overshoot of a filter.
inline constexpr int kPrecisionBits = 32 - 8 - 2;

/// One axis of a resize: output i is the sum over t < taps[i] of k[i][t] * input[first[i] + t].
struct Axis {
  int64_t in = 0, out = 0;
  int64_t row = 0;                   ///< coefficients an output has room for, a multiple of 4
  std::vector<int32_t> first = {};   ///< [out]
  std::vector<int32_t> taps = {};    ///< [out]
  std::vector<int32_t> k = {};       ///< [out, row], zero behind the taps
  std::vector<int32_t> packed = {};  ///< [out, row / 4, words]: k as the kernels want it

  /// The inputs [begin, end) that are used at all.
  std::pair<int64_t, int64_t> reach() const {
    return {first.front(), int64_t{first.back()} + taps.back()};
  }
};

/// One way to compute the two passes. All give the same bytes.
struct ResizeKernels {
  /// Rows that `horizontal` takes at once.
  static constexpr int kRows = 4;
  /// rows[r] [in, 3] -> out[r] [out, 3]. May read 16 bytes behind a row and write 1 behind the
  /// result.
  void (*horizontal)(const uint8_t* const* rows, const Axis& axis, uint8_t* const* out);
  /// Row y of the result: `bytes` columns of rows that are `stride` bytes apart, from row 0 at
  /// `in`.
  void (*vertical)(const uint8_t* in, size_t stride, size_t bytes, const Axis& axis, int64_t y,
                   uint8_t* out);
  /// Packs four coefficients into `words` words; null where the kernels read k itself.
  void (*pack)(const int32_t* k, int32_t* words);
  int words;
  /// Coefficients must lie within +-max_coefficient.
  int32_t max_coefficient;
};

const ResizeKernels& portable_resize_kernels();
/// What this processor can run, the fastest first and the portable kernels last.
std::span<const ResizeKernels* const> resize_kernels();

}  // namespace weft::io
