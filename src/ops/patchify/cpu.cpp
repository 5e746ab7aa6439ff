#include <array>
#include <cstring>

#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include "ops/patchify/backends.hpp"

namespace weft::ops::cpu {
namespace {

/// pixels [B, C, H, W] with unit stride along W -> out [B, h, w, C, patch, patch], contiguous.
/// copy_run(source, target) writes `patch` elements.
template <class In, class Out, class CopyRun>
void cut(const Tensor& pixels, int64_t patch, const In* in, Out* out, const CopyRun& copy_run) {
  const auto channels = pixels.size(1), h = pixels.size(2) / patch, w = pixels.size(3) / patch;
  const auto per_image = pixels.stride(0), per_channel = pixels.stride(1),
             per_row = pixels.stride(2);
  const auto size = channels * patch * patch;
  const auto grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, w * size));
  at::parallel_for(0, pixels.size(0) * h, grain, [&](int64_t begin, int64_t end) {
    for (auto band = begin; band < end; ++band) {  // one row of patches of one image
      const auto* image = in + band / h * per_image + band % h * patch * per_row;
      auto* patches = out + band * w * size;
      for (int64_t c = 0; c < channels; ++c) {
        for (int64_t y = 0; y < patch; ++y) {
          const auto* source = image + c * per_channel + y * per_row;
          auto* target = patches + (c * patch + y) * patch;
          for (int64_t j = 0; j < w; ++j, source += patch, target += size) copy_run(source, target);
        }
      }
    }
  });
}

}  // namespace

Tensor patchify(const Tensor& pixels_in, int64_t patch, at::ScalarType dtype, int64_t offset) {
  const auto source = pixels_in.scalar_type();
  TORCH_INTERNAL_ASSERT(dtype == source ? offset == 0 : source == at::kByte);
  const auto pixels = pixels_in.stride(3) == 1 ? pixels_in : pixels_in.contiguous();
  const auto h = pixels.size(2) / patch, w = pixels.size(3) / patch;
  auto out = at::empty({pixels.size(0), h * w, pixels.size(1) * patch * patch},
                       pixels.options().dtype(dtype));
  if (dtype == source) {
    AT_DISPATCH_ALL_TYPES_AND2(at::kHalf, at::kBFloat16, dtype, "patchify", [&] {
      cut(pixels, patch, pixels.const_data_ptr<scalar_t>(), out.mutable_data_ptr<scalar_t>(),
          [patch](const scalar_t* from, scalar_t* to) {
            std::memcpy(to, from, static_cast<size_t>(patch) * sizeof(scalar_t));
          });
    });
    return out;
  }
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, dtype, "patchify", [&] {
    std::array<scalar_t, 256> value;
    for (int64_t u = 0; u < 256; ++u)
      value[static_cast<size_t>(u)] = static_cast<scalar_t>(static_cast<float>(u - offset));
    cut(pixels, patch, pixels.const_data_ptr<uint8_t>(), out.mutable_data_ptr<scalar_t>(),
        [patch, &value](const uint8_t* from, scalar_t* to) {
          for (int64_t x = 0; x < patch; ++x) to[x] = value[from[x]];
        });
  });
  return out;
}

}  // namespace weft::ops::cpu
