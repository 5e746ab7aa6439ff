#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/io/image.hpp>

namespace weft::report {

/// How much each token's last state rests on each token of the input (Abnar and Zuidema, 2020,
/// section 3): the product, last layer first, of (A + I) / 2 with A the mean over heads. attention
/// [L, H, N, N], rows that sum to 1 (softmax's). Returns [N, N] fp32, rows that sum to 1. Throws
/// c10::ValueError on other shapes and rows.
WEFT_API at::Tensor attention_rollout(const at::Tensor& attention);

/// What one token takes from the patches, as a map: row `token` of a rollout [N, N] behind its
/// `prefix` class and register tokens. N = prefix + rows * columns. Returns [rows, columns].
WEFT_API at::Tensor patch_map(const at::Tensor& rollout, int64_t rows, int64_t columns,
                              int64_t prefix = 1, int64_t token = 0);

/// The part of an image that a map covers, in its pixels; it may pass the image's edges.
struct MapWindow {
  int64_t left = 0, top = 0;
  int64_t width = 0, height = 0;  ///< 0 = the image's
};

/// The image under a map [rows, columns] that covers it, or the window: bilinear, from the map's
/// smallest value (dark) to its largest (bright), mixed in by `alpha` (0 = the image, 1 = the map).
/// What lies outside of the window stays as it is.
WEFT_API io::Image attention_overlay(const io::Image& image, const at::Tensor& map,
                                     double alpha = 0.5, const MapWindow& window = {});

}  // namespace weft::report
