#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <weft/io/image.hpp>

namespace weft::io {

/// Where an image file says which way is up.
struct OrientationTags {
  std::string exif = {};  ///< a TIFF block, with or without "Exif\0\0" in front
  std::string xmp = {};
};

/// 1..8 as in EXIF 2.3; 1 where nothing readable is said. EXIF wins over XMP, as in Pillow.
int orientation_of(const OrientationTags& tags);

/// The image turned so that orientation 1 holds.
Image upright(Image image, int orientation);

}  // namespace weft::io
