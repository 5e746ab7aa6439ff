#pragma once

#include <algorithm>
#include <cstdint>

namespace weft::vision {

/// The size x size pixels from (left, top) of `rgb` [height, width, 3] into the planes `chw` [3,
/// size, size]. Where these reach beyond the image, `chw` stays as it is.
inline void copy_window(const uint8_t* rgb, int64_t width, int64_t height, int64_t left,
                        int64_t top, int64_t size, uint8_t* chw) {
  const int64_t x0 = std::max<int64_t>(0, -left), x1 = std::min(size, width - left);
  for (int64_t y = std::max<int64_t>(0, -top); y < std::min(size, height - top); ++y) {
    const uint8_t* row = rgb + 3 * ((y + top) * width + left);
    uint8_t* red = chw + y * size;
    uint8_t *green = red + size * size, *blue = green + size * size;
    for (int64_t x = x0; x < x1; ++x) {
      red[x] = row[3 * x];
      green[x] = row[3 * x + 1];
      blue[x] = row[3 * x + 2];
    }
  }
}

}  // namespace weft::vision
