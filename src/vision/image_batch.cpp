#include <algorithm>
#include <cmath>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>

#include <weft/vision/image_batch.hpp>

#include "vision/window.hpp"

namespace weft::vision {
namespace {

/// Half to even, as Python's round.
int64_t rounded(double value) { return static_cast<int64_t>(std::nearbyint(value)); }

struct Size {
  int64_t width, height;
};

Size resized_size(int64_t width, int64_t height, const ImageTransformOptions& options) {
  const int64_t side = options.resize > 0 ? options.resize : options.size;
  switch (options.resize_mode) {
    case ResizeMode::squash:
      return {side, side};
    case ResizeMode::longest: {
      const double ratio = static_cast<double>(std::max(width, height)) / static_cast<double>(side);
      const auto shrunk = [&](int64_t of) {
        return std::max<int64_t>(1, rounded(static_cast<double>(of) / ratio));
      };
      return {shrunk(width), shrunk(height)};
    }
    default:
      return width > height ? Size{side * width / height, side} : Size{side, side * height / width};
  }
}

/// Of the crop in a side of `side` pixels; negative where the image is padded.
int64_t crop_offset(int64_t side, int64_t size, CropRounding rounding) {
  if (rounding == CropRounding::half_to_even)
    return side >= size ? rounded(static_cast<double>(side - size) / 2) : -((size - side) / 2);
  return side >= size ? (side - size) / 2 : -((size - side + 1) / 2);
}

}  // namespace

ViewGeometry view_geometry(int64_t width, int64_t height, const ImageTransformOptions& options) {
  const auto size = options.size;
  TORCH_CHECK_VALUE(size > 0 && options.resize >= 0 && width > 0 && height > 0,
                    "to_pixels: sizes must be positive, got size ", size, ", resize ",
                    options.resize, " and an image of ", width, " x ", height);
  const auto resized = resized_size(width, height, options);
  return {.width = resized.width,
          .height = resized.height,
          .left = crop_offset(resized.width, size, options.crop_rounding),
          .top = crop_offset(resized.height, size, options.crop_rounding)};
}

void to_planes(const uint8_t* rgb, int64_t size, uint8_t* chw) {
  const int64_t plane = size * size;
  uint8_t *green = chw + plane, *blue = green + plane;
  for (int64_t i = 0; i < plane; ++i) {
    chw[i] = rgb[3 * i];
    green[i] = rgb[3 * i + 1];
    blue[i] = rgb[3 * i + 2];
  }
}

void to_pixels_into(const io::Image& image, const ImageTransformOptions& options, uint8_t* chw) {
  const int64_t size = options.size;
  const auto [width, height, left, top] = view_geometry(image.width, image.height, options);
  TORCH_CHECK_VALUE(options.fill_color >= 0 && options.fill_color <= 255,
                    "to_pixels: fill_color must be 0 to 255, got ", options.fill_color);
  thread_local std::vector<uint8_t> resized;
  const uint8_t* rgb = image.rgb.data();
  if (width != image.width || height != image.height) {
    resized.resize(3 * width * height);
    io::resize_into(rgb, image.width, image.height, width, height, options.filter, resized.data());
    rgb = resized.data();
  }
  const bool padded = width < size || height < size;
  if (padded) std::fill(chw, chw + 3 * size * size, static_cast<uint8_t>(options.fill_color));
  copy_window(rgb, width, height, left, top, size, chw);
}

at::Tensor to_pixels(const std::vector<io::Image>& images, const ImageTransformOptions& options) {
  TORCH_CHECK_VALUE(!images.empty(), "to_pixels: at least one image is needed");
  const auto count = static_cast<int64_t>(images.size());
  auto out = at::empty({count, 3, options.size, options.size}, at::kByte);
  for (int64_t i = 0; i < count; ++i)
    to_pixels_into(images[i], options,
                   out.data_ptr<uint8_t>() + i * 3 * options.size * options.size);
  return out;
}

at::Tensor normalize(const at::Tensor& pixels, const std::vector<double>& mean,
                     const std::vector<double>& std) {
  TORCH_CHECK_VALUE(pixels.dim() == 4 && pixels.size(1) == static_cast<int64_t>(mean.size()) &&
                        mean.size() == std.size(),
                    "normalize: pixels must be [B, C, H, W] with C values of mean and std, got ",
                    pixels.sizes(), ", ", mean.size(), " and ", std.size());
  const auto channels = [&](const std::vector<double>& values) {
    return at::tensor(at::ArrayRef<double>(values), at::kFloat)
        .view({1, -1, 1, 1})
        .to(pixels.device());
  };
  return pixels.to(at::kFloat).div_(255).sub_(channels(mean)).div_(channels(std));
}

}  // namespace weft::vision
