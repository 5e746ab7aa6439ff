#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <weft/io/image.hpp>

#include "io/orientation.hpp"

namespace weft::io {

/// Pixels as stored, and what the file says about its orientation.
struct DecodedImage {
  Image image = {};
  OrientationTags tags = {};
};

DecodedImage decode_jpeg(std::span<const uint8_t> bytes, std::string_view name,
                         const ImageLimits& limits);
DecodedImage decode_png(std::span<const uint8_t> bytes, std::string_view name,
                        const ImageLimits& limits);
DecodedImage decode_webp(std::span<const uint8_t> bytes, std::string_view name,
                         const ImageLimits& limits);
DecodedImage decode_bmp(std::span<const uint8_t> bytes, std::string_view name,
                        const ImageLimits& limits);

/// Throws Error where a declared size exceeds a limit. `work_bytes` is the decoder's memory beside
/// the pixels.
void check_size(std::string_view name, uint64_t width, uint64_t height, uint64_t work_bytes,
                const ImageLimits& limits);

}  // namespace weft::io
