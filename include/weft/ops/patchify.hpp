#pragma once

#include <cstdint>
#include <optional>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>

namespace weft::ops {

/// Cuts images into square patches in the order of a convolution's weight.
///
/// pixels [B, C, H, W], uint8 or floating -> [B, h * w, C * patch * patch] of the same dtype, h = H
/// / patch, w = W / patch: patches row by row, inside a patch (channel, y, x). What is left over at
/// the right and at the bottom is cut off, as a convolution of that stride does. Differentiable in
/// floating pixels.
WEFT_API at::Tensor patchify(const at::Tensor& pixels, int64_t patch);

/// The patch embedding of a vision transformer: convolution with stride = kernel size, as one GEMM.
///
///     tokens = ops::patch_embed(pixels, weight, bias, options.pixel_mean, options.pixel_std);
///
/// weight [D, C, p, p], bias [D] or none -> [B, h * w, D], in autocast's dtype where that is on,
/// else in weight's. Gradients reach weight, bias and floating pixels.
/// - Floating pixels are taken as they are (already normalised); mean and std are not looked at.
/// - uint8 pixels enter the GEMM as integers, exact in bf16 too, without a float image: with
///   x = (u / 255 - mean) / std, mean and std [C] in units of 0..1,
///     W x + b = W' (u - 128) + b',  W' = W / (255 std),  b' = b + sum W' (128 - 255 mean).
///   b' is made from W' after its rounding to the GEMM's dtype: the rounding then multiplies the
///   centred pixel, as it would for a normalised image.
WEFT_API at::Tensor patch_embed(const at::Tensor& pixels, const at::Tensor& weight,
                                const std::optional<at::Tensor>& bias, at::ArrayRef<double> mean,
                                at::ArrayRef<double> std);

}  // namespace weft::ops
