#include <algorithm>

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
  if (options.tiling == Tiling::none || options.tiling == Tiling::pad) return;
  TORCH_CHECK_VALUE(
      options.view.resize_mode == ResizeMode::squash && options.view.resize == 0,
      "to_tiles: tiles need a view that is squashed to its size, without a centre crop");
  if (options.tiling != Tiling::anyres) return;
  TORCH_CHECK_VALUE(!options.grid_pinpoints.empty(), "to_tiles: anyres needs grid_pinpoints");
  for (const auto& [height, width] : options.grid_pinpoints)
    TORCH_CHECK_VALUE(height > 0 && width > 0 && height % size == 0 && width % size == 0,
                      "to_tiles: grid_pinpoints must be positive multiples of the tiles' side ",
                      size, ", got ", height, " x ", width);
}

/// The cut.rows x cut.columns tiles of `side` pixels of `rgb`, whose left upper corner lies at
/// (left, top) of theirs. Where they reach beyond it, `chw` stays as it is.
void cut_tiles(const uint8_t* rgb, const Resolution& size, int64_t left, int64_t top,
               const TiledImage& cut, int64_t side, uint8_t* chw) {
  for (int64_t row = 0; row < cut.rows; ++row)
    for (int64_t column = 0; column < cut.columns; ++column)
      copy_window(rgb, size.width, size.height, column * side - left, row * side - top, side,
                  chw + 3 * side * side * (row * cut.columns + column));
}

io::Image resize_to(const io::Image& image, const Resolution& size, io::Filter filter) {
  return io::resize(image, size.width, size.height, filter);
}

/// split: tiles, then the whole.
void split_into(const io::Image& image, const TilingOptions& options, const TiledImage& cut,
                uint8_t* chw) {
  const auto side = options.view.size;
  const auto filter = options.view.filter;
  const auto sizes = split_sizes(cut.size, options.longest_edge, side);
  auto copy = resize_to(image, sizes.copy, filter);
  if (options.do_image_splitting) copy = resize_to(copy, sizes.whole, filter);
  cut_tiles(copy.rgb.data(), sizes.whole, 0, 0, cut, side, chw);
  const auto whole = resize_to(copy, {side, side}, filter);
  to_planes(whole.rgb.data(), side, chw + 3 * side * side * cut.rows * cut.columns);
}

/// crop: the same.
void crop_into(const io::Image& image, const TilingOptions& options, const TiledImage& cut,
               uint8_t* chw) {
  const auto side = options.view.size;
  if (cut.rows > 0) {
    const Resolution size{cut.rows * side, cut.columns * side};
    cut_tiles(resize_to(image, size, options.view.filter).rgb.data(), size, 0, 0, cut, side, chw);
  }
  to_pixels_into(image, options.view, chw + 3 * side * side * cut.rows * cut.columns);
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

TilingOptions among_others(TilingOptions options) {
  if (options.tiling == Tiling::anyres && options.pad_several) options.tiling = Tiling::pad;
  return options;
}

TiledImage tiled(const Resolution& image, const TilingOptions& options) {
  check(options);
  TORCH_CHECK_VALUE(image.height > 0 && image.width > 0,
                    "to_tiles: an image must have pixels, got ", image.height, " x ", image.width);
  TiledImage out{.size = image};
  const auto side = options.view.size;
  Resolution grid{0, 0};
  if (options.tiling == Tiling::anyres) {
    const auto [height, width] = select_best_resolution(image, options.grid_pinpoints);
    grid = {height / side, width / side};
  } else if (options.tiling == Tiling::split && options.do_image_splitting) {
    const auto [height, width] = split_sizes(image, options.longest_edge, side).whole;
    grid = {height / side, width / side};
  } else if (options.tiling == Tiling::crop && options.max_tiles > 1) {
    grid = nearest_grid(image, side, options.min_tiles, options.max_tiles);
  }
  // A single tile is the whole image already.
  if (options.tiling != Tiling::anyres && grid == Resolution{1, 1}) grid = {0, 0};
  out.rows = grid.height;
  out.columns = grid.width;
  return out;
}

void to_tiles_into(const io::Image& image, const TilingOptions& options, uint8_t* chw) {
  const auto cut = tiled({image.height, image.width}, options);
  if (options.tiling == Tiling::pad)
    return to_pixels_into(pad_to_square(image, mean_color(options.view.mean)), options.view, chw);
  if (options.tiling == Tiling::split) return split_into(image, options, cut, chw);
  if (options.tiling == Tiling::crop) return crop_into(image, options, cut, chw);
  to_pixels_into(image, options.view, chw);
  if (options.tiling == Tiling::none) return;
  const auto side = options.view.size;
  const Resolution target{cut.rows * side, cut.columns * side};
  const auto [height, width] = fit_into(cut.size, target);
  thread_local std::vector<uint8_t> larger;
  larger.resize(static_cast<size_t>(3 * width * height));
  io::resize_into(image.rgb.data(), image.width, image.height, width, height, options.view.filter,
                  larger.data());
  const auto left = (target.width - width) / 2, top = (target.height - height) / 2;
  const int64_t tile = 3 * side * side;
  std::fill_n(chw + tile, tile * cut.rows * cut.columns, uint8_t{0});
  cut_tiles(larger.data(), {height, width}, left, top, cut, side, chw + tile);
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
