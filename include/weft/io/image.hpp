#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <weft/core/export.hpp>

namespace weft::io {

/// 8-bit RGB, interleaved: the bytes of pixel (x, y) start at rgb[3 * (y * width + x)].
struct Image {
  int64_t width = 0;
  int64_t height = 0;
  std::vector<uint8_t> rgb = {};  ///< [height, width, 3]

  bool operator==(const Image&) const = default;
};

/// What a file may ask for. Declared sizes are checked before anything is allocated for them.
struct ImageLimits {
  int64_t max_pixels = 89'478'485;    ///< width * height; where Pillow starts to warn
  size_t max_bytes = 100'000'000;     ///< of the file
  size_t max_memory = 1'500'000'000;  ///< pixels and the decoder's work space, in bytes
};

/// Decodes a JPEG (baseline, progressive or arithmetic-coded; grey, YCbCr, RGB, CMYK, YCCK), a PNG
/// (every depth and colour type, interlaced too), a WebP (lossy, lossless; the first frame of an
/// animation on its canvas) or a BMP (palettes of 1, 4 and 8 bits, 16, 24 and 32 bits by the usual
/// masks, run lengths, either order of rows), told apart by their first bytes. Gives what
/// Pillow's `ImageOps.exif_transpose(Image.open(f)).convert("RGB")` gives: upright after the
/// orientation in EXIF or XMP, alpha dropped rather than blended, CMYK by Adobe's inverted
/// convention, the high byte of 16-bit samples. Colour profiles and gamma are not applied.
///
/// Differs from Pillow: 16-bit grey keeps its high byte too, where Pillow clips to 255; a BMP of 4
/// or 8 bits whose palette is greys in order is read by its depth, where Pillow takes another; an
/// unreadable EXIF block counts as absent; files above `limits` and JPEGs of more than 500 scans
/// are errors.
///
/// Throws Error that starts with `name` and says what is damaged, or which format was found
/// instead. Incomplete files are errors; a JPEG with corrupt but complete data decodes, as in
/// Pillow.
WEFT_API Image decode_image(std::span<const std::byte> bytes, std::string_view name,
                            const ImageLimits& limits = {});

/// decode_image of a file; errors name its path.
WEFT_API Image read_image(const std::filesystem::path& path, const ImageLimits& limits = {});

/// The middle `width` x `height` pixels. An odd remainder is split as torchvision's CenterCrop
/// does: the offset is half of it, rounded half to even. Throws Error where the image is smaller.
WEFT_API Image center_crop(const Image& image, int64_t width, int64_t height);

/// A PNG file's bytes: 8-bit RGB, not interlaced.
WEFT_API std::string encode_png(const Image& image);

/// A JPEG file's bytes: baseline, 4:2:0. `quality` from 1 to 100 as in libjpeg.
WEFT_API std::string encode_jpeg(const Image& image, int quality = 90);

}  // namespace weft::io
