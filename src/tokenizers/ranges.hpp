#pragma once

#include <algorithm>
#include <iterator>

namespace weft::tokenizers {

/// Code points [first, last].
struct Range {
  char32_t first, last;
};

/// Whether one of the ranges, which are sorted, holds the code point.
template <size_t N>
bool contains(const Range (&ranges)[N], char32_t c) {
  const auto* after =
      std::upper_bound(std::begin(ranges), std::end(ranges), c,
                       [](char32_t value, const Range& range) { return value < range.first; });
  return after != std::begin(ranges) && c <= std::prev(after)->last;
}

}  // namespace weft::tokenizers
