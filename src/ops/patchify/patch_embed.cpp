#include <vector>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <weft/ops/patchify.hpp>

#include "ops/autocast.hpp"
#include "ops/patchify/backends.hpp"

namespace weft::ops {
namespace {

constexpr int64_t kMiddle = 128;  // u - 128 is an integer of 8 bits: exact in bf16, and small

/// One number a channel, [C]. Made by ops alone, which tracers can follow.
template <class Number>
Tensor per_channel(int64_t channels, const at::TensorOptions& options, const Number& number) {
  std::vector<Tensor> values;
  for (int64_t c = 0; c < channels; ++c) values.push_back(at::scalar_tensor(number(c), options));
  return at::stack(values);
}

}  // namespace

Tensor patch_embed(const Tensor& pixels, const Tensor& weight, const std::optional<Tensor>& bias,
                   at::ArrayRef<double> mean, at::ArrayRef<double> std) {
  TORCH_CHECK_VALUE(weight.dim() == 4 && weight.size(2) == weight.size(3),
                    "patch_embed: weight must be [D, C, p, p], got ", weight.sizes());
  TORCH_CHECK_VALUE(pixels.dim() == 4 && pixels.sym_size(1) == weight.size(1),
                    "patch_embed: pixels must be [B, ", weight.size(1), ", H, W], got ",
                    pixels.sym_sizes());
  TORCH_CHECK_VALUE(
      !bias || !bias->defined() || (bias->dim() == 1 && bias->size(0) == weight.size(0)),
      "patch_embed: bias must be [", weight.size(0), "], got ", bias->sizes());
  const auto width = weight.size(0), channels = weight.size(1), patch = weight.size(2);
  const auto device = pixels.device().type();
  const auto dtype =
      autocast_is_on(device) ? at::autocast::get_autocast_dtype(device) : weight.scalar_type();
  const auto shift = bias ? *bias : Tensor();
  if (pixels.scalar_type() != at::kByte) {
    return at::linear(patchify(pixels, patch).to(dtype), weight.reshape({width, -1}).to(dtype),
                      shift.defined() ? shift.to(dtype) : shift);
  }

  TORCH_CHECK_VALUE(
      static_cast<int64_t>(mean.size()) == channels && static_cast<int64_t>(std.size()) == channels,
      "patch_embed: uint8 pixels need mean and std of ", channels, " numbers each, got ",
      mean.size(), " and ", std.size());
  for (const auto value : std)
    TORCH_CHECK_VALUE(value > 0, "patch_embed: std must be positive, got ", value);
  TORCH_CHECK_VALUE(pixels.sym_size(2) >= patch && pixels.sym_size(3) >= patch,
                    "patch_embed: pixels must be at least one patch of ", patch,
                    " high and wide, got ", pixels.sym_sizes());
  // Folded in the weight's own precision, fp32 at least.
  const auto exact = at::promoteTypes(weight.scalar_type(), at::kFloat);
  const auto options = weight.options().dtype(exact);
  const auto factor = per_channel(channels, options, [&](int64_t c) { return 1 / (255 * std[c]); });
  const auto centre =
      per_channel(channels, options, [&](int64_t c) { return kMiddle - 255 * mean[c]; });
  const auto kernel = (weight.to(exact) * factor.view({-1, 1, 1})).to(dtype);  // [D, C, p, p]
  auto offset = (kernel.sum({2, 3}, false, exact) * centre).sum(1);            // [D]
  if (shift.defined()) offset = offset + shift.to(exact);
  const auto patches = dispatch::patchify(pixels, patch, dtype, kMiddle);  // [B, h * w, C * p * p]
  return at::linear(patches, kernel.reshape({width, -1}), offset.to(dtype));
}

}  // namespace weft::ops
