#include "data/colour.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace weft::data {
namespace {

/// Pillow's convert("L"): 16 fractional bits.
uint8_t luma(const Planes& image, int64_t i) {
  const uint32_t sum = 19595u * image.red[i] + 38470u * image.green[i] + 7471u * image.blue[i];
  return static_cast<uint8_t>((sum + 0x8000) >> 16);
}

/// Pillow's Image.blend: single precision, cut towards zero, and clipped outside [0, 1].
uint8_t blend(int from, int to, float factor) {
  const float value = static_cast<float>(from) + factor * static_cast<float>(to - from);
  return static_cast<uint8_t>(std::clamp(value, 0.0f, 255.0f));
}

/// `plane` blended from one value.
void blend_from(uint8_t from, uint8_t* plane, int64_t size, float factor) {
  std::array<uint8_t, 256> table;
  for (int value = 0; value < 256; ++value)
    table[static_cast<size_t>(value)] = blend(from, value, factor);
  for (int64_t i = 0; i < size; ++i) plane[i] = table[plane[i]];
}

struct Hsv {
  uint8_t hue, saturation, value;
};

Hsv to_hsv(int red, int green, int blue) {
  const int high = std::max({red, green, blue}), low = std::min({red, green, blue});
  if (high == low) return {0, 0, static_cast<uint8_t>(high)};
  const auto range = static_cast<float>(high - low);
  const auto short_of = [&](int channel) { return static_cast<float>(high - channel) / range; };
  const float r = short_of(red), g = short_of(green), b = short_of(blue);
  float hue = red == high     ? b - g
              : green == high ? static_cast<float>(2.0 + r - b)
                              : static_cast<float>(4.0 + g - r);
  hue = static_cast<float>(std::fmod(hue / 6.0 + 1.0, 1.0));
  const auto byte = [](float part) {
    return static_cast<uint8_t>(std::clamp(static_cast<int>(part * 255.0), 0, 255));
  };
  return {byte(hue), byte(range / static_cast<float>(high)), static_cast<uint8_t>(high)};
}

std::array<uint8_t, 3> to_rgb(const Hsv& hsv) {
  const uint8_t v = hsv.value;
  if (hsv.saturation == 0) return {v, v, v};
  const auto hue = static_cast<float>(hsv.hue * 6.0 / 255.0);
  const auto saturation = static_cast<float>(hsv.saturation / 255.0);
  const auto sector = static_cast<int>(std::floor(hue));
  const float part = hue - static_cast<float>(sector);
  const auto level = [&](double of) {
    const double value = std::round(v * of);
    return static_cast<uint8_t>(std::clamp(value, 0.0, 255.0));
  };
  const uint8_t p = level(1.0 - saturation), q = level(1.0 - saturation * part),
                t = level(1.0 - saturation * (1.0 - part));
  switch (sector % 6) {
    case 0:
      return {v, t, p};
    case 1:
      return {q, v, p};
    case 2:
      return {p, v, t};
    case 3:
      return {p, q, v};
    case 4:
      return {t, p, v};
    default:
      return {v, p, q};
  }
}

}  // namespace

void adjust_brightness(const Planes& image, double factor) {
  for (uint8_t* plane : {image.red, image.green, image.blue})
    blend_from(0, plane, image.size, static_cast<float>(factor));
}

void adjust_contrast(const Planes& image, double factor) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < image.size; ++i) sum += luma(image, i);
  const auto mean = static_cast<double>(sum) / static_cast<double>(image.size);
  for (uint8_t* plane : {image.red, image.green, image.blue})
    blend_from(static_cast<uint8_t>(mean + 0.5), plane, image.size, static_cast<float>(factor));
}

void adjust_saturation(const Planes& image, double factor) {
  const auto by = static_cast<float>(factor);
  for (int64_t i = 0; i < image.size; ++i) {
    const uint8_t grey = luma(image, i);
    for (uint8_t* plane : {image.red, image.green, image.blue})
      plane[i] = blend(grey, plane[i], by);
  }
}

void adjust_hue(const Planes& image, double turn) {
  const auto shift = static_cast<uint8_t>(static_cast<int>(turn * 255));
  for (int64_t i = 0; i < image.size; ++i) {
    auto hsv = to_hsv(image.red[i], image.green[i], image.blue[i]);
    hsv.hue = static_cast<uint8_t>(hsv.hue + shift);
    const auto rgb = to_rgb(hsv);
    image.red[i] = rgb[0], image.green[i] = rgb[1], image.blue[i] = rgb[2];
  }
}

void remove_colour(const Planes& image) {
  for (int64_t i = 0; i < image.size; ++i)
    image.red[i] = image.green[i] = image.blue[i] = luma(image, i);
}

}  // namespace weft::data
