#include <algorithm>
#include <cmath>

#include <torch/types.h>

#include <weft/report/attention.hpp>

#include "report/colour.hpp"

namespace weft::report {

at::Tensor attention_rollout(const at::Tensor& attention) {
  TORCH_CHECK_VALUE(
      attention.dim() == 4 && attention.size(2) == attention.size(3) && attention.numel() > 0,
      "attention_rollout: attention must be [L, H, N, N], got ", attention.sizes());
  const auto maps = attention.detach().to(at::kFloat);
  TORCH_CHECK_VALUE(((maps.sum(-1) - 1).abs() < 1e-2).all().item<bool>(),
                    "attention_rollout: every row must sum to 1, as softmax's do");
  const auto identity = at::eye(maps.size(-1), maps.options());  // [N, N]
  auto out = identity;
  for (int64_t layer = 0; layer < maps.size(0); ++layer) {
    const auto mixed = maps[layer].mean(0) + identity;
    out = (mixed / mixed.sum(-1, /*keepdim=*/true)).mm(out);
  }
  return out;
}

at::Tensor patch_map(const at::Tensor& rollout, int64_t rows, int64_t columns, int64_t prefix,
                     int64_t token) {
  TORCH_CHECK_VALUE(rollout.dim() == 2 && rows > 0 && columns > 0 && prefix >= 0 &&
                        rollout.size(1) == prefix + rows * columns && token >= 0 &&
                        token < rollout.size(0),
                    "patch_map: rollout must be [N, N] with N = ", prefix, " + ", rows, " * ",
                    columns, " and a row ", token, ", got ", rollout.sizes());
  return rollout[token].narrow(0, prefix, rows * columns).reshape({rows, columns});
}

io::Image attention_overlay(const io::Image& image, const at::Tensor& map, double alpha,
                            const MapWindow& window) {
  TORCH_CHECK_VALUE(map.dim() == 2 && map.numel() > 0 && image.width > 0 && image.height > 0,
                    "attention_overlay: the map must be [rows, columns] and the image not empty, "
                    "got ",
                    map.sizes(), " and ", image.width, " x ", image.height);
  TORCH_CHECK_VALUE(alpha >= 0 && alpha <= 1, "attention_overlay: alpha must be 0 to 1, got ",
                    alpha);
  TORCH_CHECK_VALUE(window.width >= 0 && window.height >= 0,
                    "attention_overlay: the window must not be negative, got ", window.width, " x ",
                    window.height);
  const auto width = window.width > 0 ? window.width : image.width,
             height = window.height > 0 ? window.height : image.height;
  const auto heat = map.detach().to(at::kCPU, at::kFloat);
  const auto low = heat.min(), range = (heat.max() - low).clamp_min(1e-12);
  const auto shares = at::upsample_bilinear2d(((heat - low) / range).unsqueeze(0).unsqueeze(0),
                                              {height, width}, false)
                          .contiguous();  // [1, 1, height, width]
  const auto* share = shares.const_data_ptr<float>();
  auto out = image;
  const auto bottom = std::min(image.height, window.top + height),
             right = std::min(image.width, window.left + width);
  for (auto y = std::max<int64_t>(window.top, 0); y < bottom; ++y)
    for (auto x = std::max<int64_t>(window.left, 0); x < right; ++x) {
      const auto colour = colour_of(share[(y - window.top) * width + x - window.left]);
      auto* pixel = out.rgb.data() + 3 * (y * image.width + x);
      for (int c = 0; c < 3; ++c)
        pixel[c] = static_cast<uint8_t>(std::lround((1 - alpha) * pixel[c] + alpha * colour[c]));
    }
  return out;
}

}  // namespace weft::report
