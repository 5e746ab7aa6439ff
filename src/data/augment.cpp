#include <algorithm>
#include <cmath>
#include <cstring>

#include <c10/util/Exception.h>

#include <weft/data/augment.hpp>
#include <weft/io/resize.hpp>

#include "core/fail.hpp"
#include "data/colour.hpp"

namespace weft::data {
namespace {

/// SplitMix64 (Steele et al., 2014): short, and the same everywhere.
class Draws {
 public:
  explicit Draws(uint64_t seed) : state_(seed) {}

  double uniform(double low, double high) {
    return low + (high - low) * (static_cast<double>(next() >> 11) * 0x1p-53);
  }
  bool chance(double probability) { return uniform(0, 1) < probability; }
  /// 0 .. below - 1
  int64_t index(int64_t below) {
    return std::min(static_cast<int64_t>(uniform(0, static_cast<double>(below))), below - 1);
  }

 private:
  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  uint64_t state_;
};

void check(const AugmentOptions& o) {
  const auto range = [](const char* name, const std::vector<double>& values, double largest) {
    if (values.size() != 2 || !(values[0] > 0 && values[0] <= values[1] && values[1] <= largest))
      fail(ErrorKind::usage, "{}: expected two numbers above 0 and to {}, the smaller one first",
           name, largest);
  };
  if (!o.scale.empty()) range("scale", o.scale, 1), range("ratio", o.ratio, 1e3);
  const auto probability = [](const char* name, double value) {
    if (!(value >= 0 && value <= 1))
      fail(ErrorKind::usage, "{}: expected a probability, found {}", name, value);
  };
  probability("horizontal_flip_prob", o.horizontal_flip_prob);
  probability("color_jitter_prob", o.color_jitter_prob);
  probability("gray_scale_prob", o.gray_scale_prob);
  if (o.color_jitter.empty() && o.color_jitter_prob == 0) return;
  if (o.color_jitter.size() != 4)
    fail(ErrorKind::usage,
         "color_jitter: expected 4 numbers (brightness, contrast, saturation, hue), found {}",
         o.color_jitter.size());
  for (size_t i = 0; i < 4; ++i)
    if (!(o.color_jitter[i] >= 0 && (i < 3 || o.color_jitter[i] <= 0.5)))
      fail(ErrorKind::usage, "color_jitter: expected numbers of 0 or more, hue to 0.5, found {}",
           o.color_jitter[i]);
}

int64_t rounded(double value) { return static_cast<int64_t>(std::nearbyint(value)); }

Augmentation::Box draw_crop(const AugmentOptions& o, int64_t width, int64_t height, Draws& draws) {
  const double area = static_cast<double>(width) * static_cast<double>(height);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * draws.uniform(o.scale[0], o.scale[1]);
    const double ratio = std::exp(draws.uniform(std::log(o.ratio[0]), std::log(o.ratio[1])));
    const int64_t w = rounded(std::sqrt(target * ratio)), h = rounded(std::sqrt(target / ratio));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const int64_t top = draws.index(height - h + 1), left = draws.index(width - w + 1);
    return {left, top, w, h};
  }
  const double ratio = static_cast<double>(width) / static_cast<double>(height);
  int64_t w = width, h = height;
  if (ratio < o.ratio[0]) {
    h = std::max<int64_t>(1, rounded(static_cast<double>(w) / o.ratio[0]));
  } else if (ratio > o.ratio[1]) {
    w = std::max<int64_t>(1, rounded(static_cast<double>(h) * o.ratio[1]));
  }
  return {(width - w) / 2, (height - h) / 2, w, h};
}

Augmentation draw(const AugmentOptions& o, int64_t width, int64_t height, uint64_t seed) {
  Draws draws(seed);
  Augmentation out;
  if (!o.scale.empty()) out.crop = draw_crop(o, width, height, draws);
  out.flip = draws.chance(o.horizontal_flip_prob);
  if (draws.chance(o.color_jitter_prob)) {
    for (size_t i = 3; i > 0; --i)
      std::swap(out.order[i],
                out.order[static_cast<size_t>(draws.index(static_cast<int64_t>(i) + 1))]);
    for (size_t i = 0; i < 4; ++i) {
      const double by = o.color_jitter[i];
      const bool turn = i == Augmentation::hue;
      const double factor =
          turn ? draws.uniform(-by, by) : draws.uniform(std::max(0.0, 1 - by), 1 + by);
      if (by > 0) out.factors[i] = factor;
    }
  }
  out.gray = draws.chance(o.gray_scale_prob);
  return out;
}

void crop_into(const io::Image& image, const Augmentation::Box& box,
               const vision::ImageTransformOptions& transform, uint8_t* chw) {
  const int64_t size = transform.size;
  TORCH_CHECK_VALUE(size > 0 && box.left >= 0 && box.top >= 0 && box.width > 0 && box.height > 0 &&
                        box.left + box.width <= image.width && box.top + box.height <= image.height,
                    "augment: the crop must lie in the image, got ", box.width, " x ", box.height,
                    " at ", box.left, ", ", box.top, " of ", image.width, " x ", image.height);
  thread_local std::vector<uint8_t> cut, resized;
  const uint8_t* rgb = image.rgb.data() + 3 * (box.top * image.width);
  if (box.width != image.width) {
    cut.resize(static_cast<size_t>(3 * box.width * box.height));
    for (int64_t y = 0; y < box.height; ++y)
      std::memcpy(cut.data() + 3 * box.width * y, rgb + 3 * (image.width * y + box.left),
                  static_cast<size_t>(3 * box.width));
    rgb = cut.data();
  }
  resized.resize(static_cast<size_t>(3 * size * size));
  io::resize_into(rgb, box.width, box.height, size, size, transform.filter, resized.data());
  vision::to_planes(resized.data(), size, chw);
}

}  // namespace

Augmentation draw_augmentation(const AugmentOptions& options, int64_t width, int64_t height,
                               uint64_t seed) {
  check(options);
  return draw(options, width, height, seed);
}

void augment_into(const io::Image& image, const Augmentation& augmentation,
                  const vision::ImageTransformOptions& transform, uint8_t* chw) {
  if (augmentation.crop) {
    crop_into(image, *augmentation.crop, transform, chw);
  } else {
    vision::to_pixels_into(image, transform, chw);
  }
  const int64_t size = transform.size;
  if (augmentation.flip)
    for (int64_t row = 0; row < 3 * size; ++row)
      std::reverse(chw + size * row, chw + size * (row + 1));
  const int64_t plane = size * size;
  const Planes planes{chw, chw + plane, chw + 2 * plane, plane};
  for (const auto adjustment : augmentation.order) {
    const auto factor = augmentation.factors[adjustment];
    if (!factor) continue;
    static constexpr decltype(&adjust_hue) kAdjust[] = {adjust_brightness, adjust_contrast,
                                                        adjust_saturation, adjust_hue};
    kAdjust[adjustment](planes, *factor);
  }
  if (augmentation.gray) remove_colour(planes);
}

ImageTransform augmenting(const AugmentOptions& options,
                          const vision::ImageTransformOptions& transform) {
  check(options);
  return [options, transform](const io::Image& image, uint64_t seed, uint8_t* chw) {
    augment_into(image, draw(options, image.width, image.height, seed), transform, chw);
  };
}

}  // namespace weft::data
