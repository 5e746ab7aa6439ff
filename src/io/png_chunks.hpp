#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "io/orientation.hpp"

namespace weft::io {

/// Walks a PNG's chunks as Pillow does before and after it decodes: lengths within the file, the
/// checksums of those before the pixels, compressed text and profiles of at most 1 MiB once
/// inflated. Gives where the file says which way is up: eXIf, ImageMagick's "Raw profile type
/// exif", XMP.
OrientationTags scan_png(std::span<const uint8_t> bytes, std::string_view name);

}  // namespace weft::io
