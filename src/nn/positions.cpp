#include <cmath>

#include <ATen/ATen.h>

#include <weft/nn/positions.hpp>

namespace weft::nn {

at::Tensor resample_positions(const at::Tensor& table, int64_t height, int64_t width,
                              int64_t prefix, const ResampleOptions& options) {
  TORCH_CHECK_VALUE(table.dim() == 3 && table.size(0) == 1 && prefix >= 0,
                    "resample_positions: table must be [1, N, D], got ", table.sizes());
  const auto count = table.size(1) - prefix;
  const auto side = static_cast<int64_t>(std::llround(std::sqrt(std::max<int64_t>(count, 0))));
  TORCH_CHECK_VALUE(side > 0 && side * side == count,
                    "resample_positions: N must be prefix + G*G, got N = ", table.size(1),
                    " and prefix = ", prefix);
  TORCH_CHECK_VALUE(height > 0 && width > 0, "resample_positions: the grid must be positive, got ",
                    height, " x ", width);
  const auto joined = [&](const at::Tensor& patches) {
    return prefix == 0 ? patches : at::cat({table.narrow(1, 0, prefix), patches}, 1);
  };
  if (options.mode == Interpolation::bucket) {
    const auto rows = position_buckets(height, height, side).unsqueeze(1) * side +
                      position_buckets(width, width, side).unsqueeze(0);  // [height, width]
    return joined(
        table.narrow(1, prefix, count).index_select(1, rows.flatten().to(table.device())));
  }
  if (height == side && width == side) return table;
  const auto type = table.scalar_type();
  const auto wide = type == at::kBFloat16 || type == at::kHalf ? at::kFloat : type;
  auto grid = table.narrow(1, prefix, count)
                  .to(wide)
                  .reshape({1, side, side, table.size(2)})
                  .permute({0, 3, 1, 2});  // [1, D, G, G]
  const std::array<int64_t, 2> size{height, width};
  if (options.mode == Interpolation::bicubic) {
    grid = options.antialias ? at::_upsample_bicubic2d_aa(grid, size, false)
                             : at::upsample_bicubic2d(grid, size, false);
  } else {
    grid = options.antialias ? at::_upsample_bilinear2d_aa(grid, size, false)
                             : at::upsample_bilinear2d(grid, size, false);
  }
  return joined(grid.permute({0, 2, 3, 1}).reshape({1, height * width, -1}).to(type));
}

at::Tensor position_buckets(int64_t count, int64_t real, int64_t side) {
  TORCH_CHECK_VALUE(count > 0 && real > 0 && real <= count && side > 0,
                    "position_buckets: count and side must be positive, real 1 to count, got ",
                    count, ", ", side, " and ", real);
  // The very operations of the reference, whose roundings decide.
  const double step = 1.0 / static_cast<double>(side);
  const auto boundaries = at::arange(step, 1.0, step, at::kFloat);  // [side - 1]
  const auto places = at::arange(count, at::kFloat)
                          .mul(at::scalar_tensor(real, at::kLong).reciprocal())
                          .clamp_max(1.0 - 1e-6);
  return at::bucketize(places, boundaries, /*out_int32=*/false, /*right=*/true);
}

at::Tensor sincos_2d(int64_t hidden_size, int64_t height, int64_t width, double temperature) {
  TORCH_CHECK_VALUE(hidden_size > 0 && hidden_size % 4 == 0,
                    "sincos_2d: hidden_size must be a multiple of 4, got ", hidden_size);
  const auto quarter = hidden_size / 4;
  const auto frequency = at::pow(
      temperature, at::arange(quarter, at::kDouble).div(-static_cast<double>(quarter)));  // [D/4]
  const auto axis = [&](const at::Tensor& position) {                                     // [N]
    const auto angle = position.unsqueeze(1) * frequency;
    return at::cat({angle.sin(), angle.cos()}, 1);  // [N, D/2]
  };
  const auto column = at::arange(width, at::kDouble).repeat({height});
  const auto row = at::arange(height, at::kDouble).repeat_interleave(width);
  return at::cat({axis(column), axis(row)}, 1).to(at::kFloat);
}

}  // namespace weft::nn
