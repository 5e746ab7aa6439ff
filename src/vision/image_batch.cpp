#include <algorithm>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>

#include <weft/vision/image_batch.hpp>

namespace weft::vision {
void to_pixels_into(const io::Image& image, const ImageTransformOptions& options, uint8_t* chw) {
  const int64_t size = options.size, side = options.resize > 0 ? options.resize : size;
  TORCH_CHECK_VALUE(size > 0 && options.resize >= 0 && image.width > 0 && image.height > 0,
                    "to_pixels: sizes must be positive, got size ", size, ", resize ",
                    options.resize, " and an image of ", image.width, " x ", image.height);
  int64_t width = size, height = size;
  if (!options.squash) {
    const bool wide = image.width > image.height;
    width = wide ? side * image.width / image.height : side;
    height = wide ? side : side * image.height / image.width;
  }
  thread_local std::vector<uint8_t> resized;
  const uint8_t* rgb = image.rgb.data();
  if (width != image.width || height != image.height) {
    resized.resize(3 * width * height);
    io::resize_into(rgb, image.width, image.height, width, height, options.filter, resized.data());
    rgb = resized.data();
  }
  // Rounded down, and padding therefore up, as in transformers' image processors; torchvision's
  // CenterCrop rounds half to even.
  const auto offset = [size](int64_t side) {
    return side >= size ? (side - size) / 2 : -((size - side + 1) / 2);
  };
  const int64_t left = offset(width), top = offset(height);
  const bool padded = left < 0 || top < 0;
  if (padded) std::fill(chw, chw + 3 * size * size, uint8_t{0});
  const int64_t x0 = std::max<int64_t>(0, -left), x1 = std::min(size, width - left);
  for (int64_t y = std::max<int64_t>(0, -top); y < std::min(size, height - top); ++y) {
    const uint8_t* row = rgb + 3 * ((y + top) * width + left);
    uint8_t* red = chw + y * size;
    uint8_t *green = red + size * size, *blue = green + size * size;
    for (int64_t x = x0; x < x1; ++x) {
      red[x] = row[3 * x];
      green[x] = row[3 * x + 1];
      blue[x] = row[3 * x + 2];
    }
  }
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
