#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <weft/io/resize.hpp>
#include <weft/vision/tiles.hpp>

#include "vision/image_rows.hpp"
#include "vision/window.hpp"

namespace weft::vision {
namespace {

void check(const TilingOptions& options) {
  const auto size = options.view.size;
  TORCH_CHECK_VALUE(size > 0, "to_tiles: view.size must be positive, got ", size);
  if (options.tiling != Tiling::anyres) return;
  TORCH_CHECK_VALUE(
      options.view.resize_mode == ResizeMode::squash && options.view.resize == 0,
      "to_tiles: anyres needs a view that is squashed to its size, without a centre crop");
  TORCH_CHECK_VALUE(!options.grid_pinpoints.empty(), "to_tiles: anyres needs grid_pinpoints");
  for (const auto& [height, width] : options.grid_pinpoints)
    TORCH_CHECK_VALUE(height > 0 && width > 0 && height % size == 0 && width % size == 0,
                      "to_tiles: grid_pinpoints must be positive multiples of the tiles' side ",
                      size, ", got ", height, " x ", width);
}

void check_size(const Resolution& image) {
  TORCH_CHECK_VALUE(image.height > 0 && image.width > 0,
                    "to_tiles: an image must have pixels, got ", image.height, " x ", image.width);
}

void write_row(const TiledImage& image, int64_t* row) {
  row[0] = image.first_tile;
  row[1] = image.rows;
  row[2] = image.columns;
  row[3] = image.size.height;
  row[4] = image.size.width;
  row[5] = image.has_base ? 1 : 0;
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

io::Image pad_to_square(const io::Image& image, const std::vector<int64_t>& color) {
  TORCH_CHECK_VALUE(color.size() == 3, "pad_to_square: a colour has 3 values, got ", color.size());
  for (const auto value : color)
    TORCH_CHECK_VALUE(value >= 0 && value <= 255, "pad_to_square: colours are 0 to 255, got ",
                      value);
  if (image.width == image.height) return image;
  const auto side = std::max(image.width, image.height);
  io::Image out{.width = side, .height = side, .rgb = {}};
  out.rgb.resize(static_cast<size_t>(3 * side * side));
  for (size_t i = 0; i < out.rgb.size(); ++i) out.rgb[i] = static_cast<uint8_t>(color[i % 3]);
  const auto left = (side - image.width) / 2, top = (side - image.height) / 2;
  for (int64_t y = 0; y < image.height; ++y)
    std::copy_n(image.rgb.data() + 3 * y * image.width, 3 * image.width,
                out.rgb.data() + 3 * ((y + top) * side + left));
  return out;
}

std::vector<int64_t> mean_color(const std::vector<double>& mean) {
  std::vector<int64_t> out;
  for (const double value : mean) out.push_back(static_cast<int64_t>(value * 255));
  return out;
}

TiledImage tiled(const Resolution& image, const TilingOptions& options) {
  check(options);
  check_size(image);
  TiledImage out{.size = image};
  if (options.tiling == Tiling::anyres) {
    const auto [height, width] = select_best_resolution(image, options.grid_pinpoints);
    out.rows = height / options.view.size;
    out.columns = width / options.view.size;
  }
  return out;
}

void to_tiles_into(const io::Image& image, const TilingOptions& options, uint8_t* chw) {
  const auto cut = tiled({image.height, image.width}, options);
  if (options.tiling == Tiling::pad)
    return to_pixels_into(pad_to_square(image, mean_color(options.view.mean)), options.view, chw);
  to_pixels_into(image, options.view, chw);
  if (options.tiling == Tiling::none) return;
  const auto side = options.view.size;
  const Resolution target{cut.rows * side, cut.columns * side};
  const auto [height, width] = fit_into(cut.size, target);
  thread_local std::vector<uint8_t> resized;
  resized.resize(static_cast<size_t>(3 * width * height));
  io::resize_into(image.rgb.data(), image.width, image.height, width, height, options.view.filter,
                  resized.data());
  const auto left = (target.width - width) / 2, top = (target.height - height) / 2;
  const int64_t tile = 3 * side * side;
  std::fill_n(chw + tile, tile * cut.rows * cut.columns, uint8_t{0});
  for (int64_t row = 0; row < cut.rows; ++row)
    for (int64_t column = 0; column < cut.columns; ++column)
      copy_window(resized.data(), width, height, column * side - left, row * side - top, side,
                  chw + tile * (1 + row * cut.columns + column));
}

Tiles to_tiles(const std::vector<io::Image>& images, const TilingOptions& options) {
  TORCH_CHECK_VALUE(!images.empty(), "to_tiles: at least one image is needed");
  Tiles out{.images = at::empty({static_cast<int64_t>(images.size()), 6}, at::kLong)};
  auto* row = out.images.data_ptr<int64_t>();
  int64_t count = 0;
  for (const auto& image : images) {
    auto cut = tiled({image.height, image.width}, options);
    cut.first_tile = count;
    write_row(cut, row);
    count += cut.count();
    row += 6;
  }
  const auto side = options.view.size;
  out.pixels = at::empty({count, 3, side, side}, at::kByte);
  const auto* first = out.images.const_data_ptr<int64_t>();
  for (const auto& image : images) {
    to_tiles_into(image, options, out.pixels.data_ptr<uint8_t>() + *first * 3 * side * side);
    first += 6;
  }
  return out;
}

Tiles join(const std::vector<Tiles>& parts) {
  TORCH_CHECK_VALUE(!parts.empty(), "join: at least one part is needed");
  std::vector<at::Tensor> pixels;
  ImageRows rows;
  for (const auto& part : parts) {
    rows.add(part.images, part.pixels.size(0));
    pixels.push_back(part.pixels);
  }
  return {.pixels = at::cat(pixels), .images = rows.images()};
}

std::vector<TiledImage> tiled_images(const at::Tensor& images, int64_t tiles) {
  TORCH_CHECK_VALUE(images.dim() == 2 && images.size(1) == 6 && images.scalar_type() == at::kLong,
                    "images must be [I, 6] int64, got ", images.sizes(), " ", images.scalar_type());
  const auto rows = images.to(at::kCPU).contiguous();
  std::vector<TiledImage> out;
  for (int64_t i = 0; i < rows.size(0); ++i) {
    const auto* row = rows.const_data_ptr<int64_t>() + 6 * i;
    const TiledImage image{.first_tile = row[0],
                           .rows = row[1],
                           .columns = row[2],
                           .size = {row[3], row[4]},
                           .has_base = row[5] != 0};
    TORCH_CHECK_VALUE(image.first_tile >= 0 && image.rows >= 0 && image.columns >= 0 &&
                          image.rows <= tiles && image.columns <= tiles && image.count() > 0 &&
                          image.count() <= tiles - image.first_tile,
                      "images: row ", i, " needs the tiles from ", image.first_tile, ", ",
                      image.rows, " x ", image.columns, image.has_base ? " and a base view" : "",
                      ", of ", tiles);
    TORCH_CHECK_VALUE(image.size.height > 0 && image.size.width > 0, "images: row ", i,
                      " has an image of ", image.size.height, " x ", image.size.width);
    out.push_back(image);
  }
  return out;
}

}  // namespace weft::vision
