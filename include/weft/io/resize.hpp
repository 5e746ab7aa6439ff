#pragma once

#include <weft/core/options.hpp>
#include <weft/io/image.hpp>

namespace weft::io {

/// Pillow's resampling filters. All but `nearest` widen with the scale when an image is reduced
/// (anti-aliasing). bicubic has a = -0.5.
enum class Filter { nearest, bilinear, bicubic, box, hamming, lanczos };

/// Resizes to `width` x `height` with the bytes of Pillow's `Image.resize((width, height),
/// filter)`: normalised coefficients in fixed point with 22 fractional bits, a horizontal and then
/// a vertical pass with 8 bits between them, a pass left out where its size stays the same. Throws
/// Error where a size is not positive or the result has more than 2^31 bytes.
WEFT_API Image resize(const Image& image, int64_t width, int64_t height, Filter filter);

/// The same into `out` [out_height, out_width, 3], which must not overlap `rgb` [height, width, 3].
/// Scratch memory and the coefficients of the last sizes are kept per thread.
WEFT_API void resize_into(const uint8_t* rgb, int64_t width, int64_t height, int64_t out_width,
                          int64_t out_height, Filter filter, uint8_t* out);

}  // namespace weft::io

template <>
inline constexpr std::string_view weft::enum_names<weft::io::Filter>[] = {
    "nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"};
