#include <algorithm>
#include <cmath>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/upsample_bilinear2d.h>

#include <weft/fusion/anyres.hpp>
#include <weft/nn/init.hpp>

namespace weft::fusion {
namespace {

using vision::Resolution;
using vision::TiledImage;

/// int(round(value, 7)) as in Python: up where only the division's rounding is short of an integer.
int64_t nearly_floor(double value) {
  const double nearest = std::nearbyint(value);
  return static_cast<int64_t>(std::abs(value - nearest) <= 5e-8 ? nearest : std::floor(value));
}

/// Python's value // by, which std::floor(value / by) is not where the quotient is rounded up.
int64_t floor_divide(int64_t value, double by) {
  const auto v = static_cast<double>(value);
  return static_cast<int64_t>(std::nearbyint((v - std::fmod(v, by)) / by));
}

}  // namespace

Unpadded unpad(const Resolution& image, const Resolution& grid) {
  const auto height = static_cast<double>(image.height), width = static_cast<double>(image.width),
             rows = static_cast<double>(grid.height), columns = static_cast<double>(grid.width);
  if (width / height > columns / rows) {
    const auto padding = (grid.height - nearly_floor(height * (columns / width))) / 2;
    return {padding, 0, {grid.height - 2 * padding, grid.width}};
  }
  const auto padding = (grid.width - nearly_floor(width * (rows / height))) / 2;
  return {0, padding, {grid.height, grid.width - 2 * padding}};
}

AnyResImpl::AnyResImpl(std::shared_ptr<Connector> each, const AnyResOptions& options_in)
    : options(options_in) {
  TORCH_CHECK_VALUE(each, "AnyRes: the connector of the tiles must be given");
  TORCH_CHECK_VALUE(options.tile_size > 0 && options.max_tiles >= 0,
                    "AnyRes: tile_size must be positive and max_tiles at least 0, got ",
                    options.tile_size, " and ", options.max_tiles);
  projector = register_module("projector", std::move(each));
  const auto D = projector->info().hidden_size;
  image_newline = register_parameter(
      "image_newline", nn::init_normal(at::empty({D}), 1 / std::sqrt(static_cast<double>(D))));
}

std::pair<Unpadded, Resolution> AnyResImpl::layout(const TiledImage& image, int64_t side) const {
  const auto part = unpad(image.size, {image.rows * side, image.columns * side});
  auto size = part.size;
  if (options.max_tiles > 0) {
    const double ratio = std::sqrt(static_cast<double>(size.height * size.width) /
                                   static_cast<double>(options.max_tiles * side * side));
    if (ratio > 1.1)
      size = {std::max<int64_t>(1, floor_divide(size.height, ratio)),
              std::max<int64_t>(1, floor_divide(size.width, ratio))};
  }
  return {part, size};
}

int64_t AnyResImpl::visual_tokens(const TiledImage& image, int64_t side) const {
  const auto base = image.has_base ? side * side : 0;
  if (image.rows * image.columns == 0) return base + 1;
  const auto size = layout(image, side).second;
  return base + size.height * (size.width + 1);
}

int64_t AnyResImpl::visual_tokens(const Resolution& image, int64_t side) const {
  vision::TilingOptions tiling;
  tiling.view.size = options.tile_size;
  tiling.view.resize_mode = vision::ResizeMode::squash;
  tiling.grid_pinpoints = options.grid_pinpoints;
  return visual_tokens(vision::tiled(image, tiling), side);
}

EncoderOutput AnyResImpl::connect(const ConnectorInput& input) {
  TORCH_CHECK_VALUE(input.visual.images.defined(),
                    "AnyRes: images [I, 6] must say how the tiles belong together");
  const auto x = projector->connect(input).tokens;  // [T, N, D]
  const auto T = x.size(0), N = x.size(1), D = x.size(2);
  const auto side = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(N))));
  TORCH_CHECK_VALUE(side * side == N, "AnyRes: a tile's tokens must be a square, got ", N);
  std::vector<Tensor> pieces;
  std::vector<int> starts = {0};
  for (const auto& image : vision::tiled_images(input.visual.images, T)) {
    auto first = image.first_tile;
    if (image.has_base) pieces.push_back(x[first++]);
    if (image.rows * image.columns == 0) {
      pieces.push_back(image_newline.to(x.scalar_type()).unsqueeze(0));
    } else {
      const auto [part, size] = layout(image, side);
      auto grid = x.narrow(0, first, image.rows * image.columns)
                      .reshape({image.rows, image.columns, side, side, D})
                      .transpose(1, 2)
                      .reshape({image.rows * side, image.columns * side, D})
                      .narrow(0, part.top, part.size.height)
                      .narrow(1, part.left, part.size.width);  // [H, W, D]
      if (size != part.size)
        grid = at::upsample_bilinear2d(grid.permute({2, 0, 1}).unsqueeze(0),
                                       {size.height, size.width}, /*align_corners=*/false)
                   .squeeze(0)
                   .permute({1, 2, 0});
      const auto newlines = image_newline.to(x.scalar_type()).expand({size.height, 1, D});
      pieces.push_back(at::cat({grid, newlines}, 1).flatten(0, 1));
    }
    starts.push_back(starts.back() + static_cast<int>(visual_tokens(image, side)));
  }
  auto tokens = pieces.empty() ? x.new_empty({0, D}) : at::cat(pieces);
  return {.tokens = tokens.unsqueeze(0),
          .images = input.visual.images,
          .cu_seqlens = at::tensor(starts, at::kInt).to(x.device())};
}

}  // namespace weft::fusion
