// Into which grid of tiles an image is put, and how large it is there.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <c10/util/Exception.h>

#include <weft/vision/tiles.hpp>

namespace weft::vision {
namespace {

void check_size(const Resolution& image) {
  TORCH_CHECK_VALUE(image.height > 0 && image.width > 0, "an image must have pixels, got ",
                    image.height, " x ", image.width);
}

}  // namespace

Resolution select_best_resolution(const Resolution& image,
                                  const std::vector<Resolution>& candidates) {
  check_size(image);
  TORCH_CHECK_VALUE(!candidates.empty(), "select_best_resolution: there must be candidates");
  std::optional<Resolution> best;
  int64_t most = 0, least_wasted = std::numeric_limits<int64_t>::max();
  const auto height = static_cast<double>(image.height), width = static_cast<double>(image.width);
  for (const auto& candidate : candidates) {
    const double scale = std::min(static_cast<double>(candidate.width) / width,
                                  static_cast<double>(candidate.height) / height);
    const auto shrunk_width = static_cast<int64_t>(width * scale),
               shrunk_height = static_cast<int64_t>(height * scale);
    const auto used = std::min(shrunk_width * shrunk_height, image.height * image.width);
    const auto wasted = candidate.width * candidate.height - used;
    if (!best || used > most || (used == most && wasted < least_wasted)) {
      best = candidate;
      most = used;
      least_wasted = wasted;
    }
  }
  return *best;
}

Resolution fit_into(const Resolution& image, const Resolution& target) {
  check_size(image);
  const auto height = static_cast<double>(image.height), width = static_cast<double>(image.width);
  const double across = static_cast<double>(target.width) / width,
               down = static_cast<double>(target.height) / height;
  const auto up = [](double value) { return static_cast<int64_t>(std::ceil(value)); };
  if (across < down) return {std::min(up(height * across), target.height), target.width};
  return {target.height, std::min(up(width * down), target.width)};
}

SplitSizes split_sizes(const Resolution& image, int64_t longest_edge, int64_t side) {
  check_size(image);
  TORCH_CHECK_VALUE(longest_edge > 0 && side > 0,
                    "split_sizes: longest_edge and side must be positive, got ", longest_edge,
                    " and ", side);
  constexpr int64_t kLargest = 4096;
  const auto scaled = [](int64_t value, double by) {
    return static_cast<int64_t>(static_cast<double>(value) * by);
  };
  const auto divided = [](int64_t value, double by) {
    return static_cast<int64_t>(static_cast<double>(value) / by);
  };
  const auto aspect_of = [](const Resolution& size) {
    return static_cast<double>(size.width) / static_cast<double>(size.height);
  };
  // As the reference has it, with a ratio that is rounded anew between the steps.
  auto copy = image;
  const auto fit = [&](int64_t longest, bool even) {
    const auto aspect = aspect_of(copy);
    if (copy.width >= copy.height) {
      copy = {divided(longest, aspect), longest};
      if (even) copy.height += copy.height % 2;
    } else {
      copy = {longest, scaled(longest, aspect)};
      if (even) copy.width += copy.width % 2;
    }
    copy = {std::max<int64_t>(copy.height, 1), std::max<int64_t>(copy.width, 1)};
  };
  fit(longest_edge, true);
  if (std::max(copy.width, copy.height) > kLargest) fit(kLargest, false);
  const auto whole = [&](int64_t value) {
    return std::max<int64_t>(1, (value + side - 1) / side) * side;
  };
  const auto aspect = aspect_of(copy);
  if (copy.width >= copy.height) {
    const auto width = whole(copy.width);
    return {copy, {whole(divided(width, aspect)), width}};
  }
  const auto height = whole(copy.height);
  return {copy, {height, whole(scaled(height, aspect))}};
}

Resolution nearest_grid(const Resolution& image, int64_t side, int64_t min_tiles,
                        int64_t max_tiles) {
  check_size(image);
  TORCH_CHECK_VALUE(side > 0 && min_tiles >= 0 && max_tiles > 0 && max_tiles <= 4096,
                    "nearest_grid: side must be positive, min_tiles not negative and max_tiles 1 "
                    "to 4096, got ",
                    side, ", ", min_tiles, " and ", max_tiles);
  std::vector<Resolution> grids;
  for (int64_t columns = 1; columns <= max_tiles; ++columns)
    for (int64_t rows = 1; rows * columns <= max_tiles; ++rows)
      if (rows * columns >= min_tiles) grids.push_back({rows, columns});
  std::ranges::stable_sort(grids, {},
                           [](const Resolution& grid) { return grid.height * grid.width; });
  const auto aspect = static_cast<double>(image.width) / static_cast<double>(image.height);
  const auto pixels = static_cast<double>(image.width * image.height);
  Resolution best{1, 1};
  double least = std::numeric_limits<double>::infinity();
  for (const auto& grid : grids) {
    const auto difference =
        std::abs(aspect - static_cast<double>(grid.width) / static_cast<double>(grid.height));
    const auto covered = static_cast<double>(side * side * grid.width * grid.height);
    if (difference < least || (difference == least && pixels > 0.5 * covered)) best = grid;
    least = std::min(least, difference);
  }
  return best;
}

}  // namespace weft::vision
