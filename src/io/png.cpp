#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>

#include <png.h>

#include "core/fail.hpp"
#include "io/image_codecs.hpp"
#include "io/png_chunks.hpp"

namespace weft::io {
namespace {

struct PngErrors {
  std::jmp_buf jump;
  char message[256];
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto* errors = static_cast<PngErrors*>(png_get_error_ptr(png));
  std::snprintf(errors->message, sizeof(errors->message), "%s", message);
  std::longjmp(errors->jump, 1);
}

// libpng only warns where the checksum behind the last row is wrong.
void on_warning(png_structp png, png_const_charp message) {
  if (std::strstr(message, "incorrect data check")) on_error(png, message);
}

/// Rows of a PNG in memory. libpng's error exit is a longjmp, so the methods that call libpng hold
/// nothing that needs destruction.
class PngDecoder {
 public:
  explicit PngDecoder(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  ~PngDecoder() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngDecoder(const PngDecoder&) = delete;
  PngDecoder& operator=(const PngDecoder&) = delete;

  bool read_header() {
    if (setjmp(errors_.jump)) return false;
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &errors_, on_error, on_warning);
    info_ = png_ ? png_create_info_struct(png_) : nullptr;
    if (!info_) {
      std::snprintf(errors_.message, sizeof(errors_.message), "out of memory");
      return false;
    }
    png_set_read_fn(png_, this, [](png_structp png, png_bytep to, size_t count) {
      auto* self = static_cast<PngDecoder*>(png_get_io_ptr(png));
      if (count > self->bytes_.size()) png_error(png, "the file is truncated");
      std::memcpy(to, self->bytes_.data(), count);
      self->bytes_ = self->bytes_.subspan(count);
    });
    // Chunk checksums were looked at by scan_png; the pixels have their own.
    png_set_crc_action(png_, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    // None of the ancillary chunks changes the pixels; tRNS goes with the alpha channel.
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER,
                                reinterpret_cast<png_const_bytep>("tRNS"), 1);
    png_read_info(png_, info_);
    return true;
  }

  /// rgb [height, width, 3]
  bool read_pixels(uint8_t* rgb) {
    if (setjmp(errors_.jump)) return false;
    png_set_strip_16(png_);
    png_set_palette_to_rgb(png_);
    png_set_expand_gray_1_2_4_to_8(png_);
    png_set_gray_to_rgb(png_);
    png_set_strip_alpha(png_);
    const int passes = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    const size_t stride = size_t{3} * width();
    if (png_get_rowbytes(png_, info_) != stride) png_error(png_, "unexpected row size");
    for (int pass = 0; pass < passes; ++pass) {
      for (uint32_t y = 0; y < height(); ++y) png_read_row(png_, rgb + stride * y, nullptr);
    }
    return true;
  }

  uint32_t width() const { return png_get_image_width(png_, info_); }
  uint32_t height() const { return png_get_image_height(png_, info_); }
  const char* message() const { return errors_.message; }

 private:
  std::span<const uint8_t> bytes_;
  PngErrors errors_ = {};
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

class PngEncoder {
 public:
  ~PngEncoder() { png_destroy_write_struct(&png_, &info_); }

  bool write(const Image& image) {
    if (setjmp(errors_.jump)) return false;
    png_ = png_create_write_struct(PNG_LIBPNG_VER_STRING, &errors_, on_error,
                                   [](png_structp, png_const_charp) {});
    info_ = png_ ? png_create_info_struct(png_) : nullptr;
    if (!info_) return false;
    png_set_write_fn(
        png_, this,
        [](png_structp png, png_bytep from, size_t count) {
          if (!static_cast<PngEncoder*>(png_get_io_ptr(png))->append(from, count))
            png_error(png, "out of memory");
        },
        [](png_structp) {});
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_IHDR(png_, info_, static_cast<png_uint_32>(image.width),
                 static_cast<png_uint_32>(image.height), 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png_, info_);
    for (int64_t y = 0; y < image.height; ++y)
      png_write_row(png_, image.rgb.data() + 3 * image.width * y);
    png_write_end(png_, info_);
    return true;
  }
  std::string take() { return std::move(bytes_); }
  const char* message() const { return errors_.message; }

 private:
  // Exceptions must not pass through libpng.
  bool append(const uint8_t* from, size_t count) noexcept try {
    bytes_.append(reinterpret_cast<const char*>(from), count);
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }

  std::string bytes_;
  PngErrors errors_ = {};
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

}  // namespace

DecodedImage decode_png(std::span<const uint8_t> bytes, std::string_view name,
                        const ImageLimits& limits) {
  DecodedImage out{.image = {}, .tags = scan_png(bytes, name)};
  PngDecoder decoder(bytes);
  if (!decoder.read_header()) fail("{}: damaged PNG: {}", name, decoder.message());
  const uint64_t width = decoder.width(), height = decoder.height();
  // libpng holds two rows of at most 8 bytes a pixel, and a row that it expands.
  check_size(name, width, height, 3 * 8 * width, limits);
  out.image.width = static_cast<int64_t>(width);
  out.image.height = static_cast<int64_t>(height);
  out.image.rgb.resize(3 * width * height);
  if (!decoder.read_pixels(out.image.rgb.data()))
    fail("{}: damaged PNG of {} x {} pixels: {}", name, width, height, decoder.message());
  return out;
}

std::string encode_png(const Image& image) {
  constexpr int64_t kMaxSide = (int64_t{1} << 28);
  if (image.width < 1 || image.height < 1 || image.width > kMaxSide || image.height > kMaxSide ||
      image.rgb.size() != static_cast<size_t>(3 * image.width * image.height))
    fail("encode_png: expected 1..{} pixels a side and 3 bytes a pixel, got {} x {} and {} bytes",
         kMaxSide, image.width, image.height, image.rgb.size());
  PngEncoder encoder;
  if (!encoder.write(image)) fail("encode_png: {}", encoder.message());
  return encoder.take();
}

}  // namespace weft::io
