#pragma once

#include <cstdint>

namespace weft::data {

/// The three planes of an image, changed in place.
struct Planes {
  uint8_t *red, *green, *blue;
  int64_t size;  ///< pixels of each
};

/// Pillow's ImageEnhance.Brightness, Contrast and Color: a blend by `factor` from black, from the
/// mean grey, from the grey image.
void adjust_brightness(const Planes& image, double factor);
void adjust_contrast(const Planes& image, double factor);
void adjust_saturation(const Planes& image, double factor);
/// Turns the hue of Pillow's 8-bit HSV by `turn` (-0.5 to 0.5 of the circle).
void adjust_hue(const Planes& image, double turn);
/// ITU-R 601 luma in all channels.
void remove_colour(const Planes& image);

}  // namespace weft::data
