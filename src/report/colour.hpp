#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

namespace weft::report {

/// A dark-to-bright scale for 0 to 1, linear between five colours of viridis (Smith and van der
/// Walt, 2015). Values outside are clipped.
inline std::array<uint8_t, 3> colour_of(double share) {
  constexpr double kStops[5][3] = {
      {68, 1, 84}, {59, 82, 139}, {33, 145, 140}, {94, 201, 98}, {253, 231, 37}};
  const double place = std::clamp(share, 0.0, 1.0) * 4;
  const auto left = std::min(static_cast<int>(place), 3);
  std::array<uint8_t, 3> out{};
  for (int c = 0; c < 3; ++c)
    out[c] = static_cast<uint8_t>(
        std::lround(kStops[left][c] + (place - left) * (kStops[left + 1][c] - kStops[left][c])));
  return out;
}

}  // namespace weft::report
