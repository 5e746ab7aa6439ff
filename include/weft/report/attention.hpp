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

/// The image under a map [rows, columns] that covers it: bilinear, from the map's smallest value
/// (dark) to its largest (bright), mixed in by `alpha` (0 = the image, 1 = the map).
WEFT_API io::Image attention_overlay(const io::Image& image, const at::Tensor& map,
                                     double alpha = 0.5);

}  // namespace weft::report
