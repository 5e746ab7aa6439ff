#include <algorithm>
#include <limits>

#include "io/resize_kernels.hpp"

namespace weft::io {
namespace {

constexpr int32_t kHalf = 1 << (kPrecisionBits - 1);

uint8_t to_byte(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255));
}

void horizontal(const uint8_t* const* rows, const Axis& axis, uint8_t* const* out) {
  for (int r = 0; r < ResizeKernels::kRows; ++r) {
    uint8_t* to = out[r];
    for (int64_t x = 0; x < axis.out; ++x, to += 3) {
      const int32_t* k = axis.k.data() + x * axis.row;
      const int32_t taps = axis.taps[static_cast<size_t>(x)];
      const uint8_t* from = rows[r] + 3 * axis.first[static_cast<size_t>(x)];
      int32_t red = kHalf, green = kHalf, blue = kHalf;
      for (int32_t t = 0; t < taps; ++t, from += 3) {
        red += from[0] * k[t];
        green += from[1] * k[t];
        blue += from[2] * k[t];
      }
      to[0] = to_byte(red);
      to[1] = to_byte(green);
      to[2] = to_byte(blue);
    }
  }
}

void vertical(const uint8_t* in, size_t stride, size_t bytes, const Axis& axis, int64_t y,
              uint8_t* out) {
  constexpr size_t kBlock = 64;
  const int32_t* k = axis.k.data() + y * axis.row;
  const int32_t taps = axis.taps[static_cast<size_t>(y)];
  in += stride * static_cast<size_t>(axis.first[static_cast<size_t>(y)]);
  for (size_t x = 0; x < bytes; x += kBlock) {
    const size_t count = std::min(kBlock, bytes - x);
    int32_t sums[kBlock];
    std::fill_n(sums, kBlock, kHalf);
    for (int32_t t = 0; t < taps; ++t) {
      const uint8_t* row = in + stride * static_cast<size_t>(t) + x;
      for (size_t i = 0; i < count; ++i) sums[i] += row[i] * k[t];
    }
    for (size_t i = 0; i < count; ++i) out[x + i] = to_byte(sums[i]);
  }
}

}  // namespace

const ResizeKernels& portable_resize_kernels() {
  static constexpr ResizeKernels kKernels{.horizontal = horizontal,
                                          .vertical = vertical,
                                          .pack = nullptr,
                                          .words = 0,
                                          .max_coefficient = std::numeric_limits<int32_t>::max()};
  return kKernels;
}

#if !defined(__x86_64__)
std::span<const ResizeKernels* const> resize_kernels() {
  static const ResizeKernels* const kKernels[] = {&portable_resize_kernels()};
  return kKernels;
}
#endif

}  // namespace weft::io
