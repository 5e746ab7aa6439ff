#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>

#include <jerror.h>
#include <jpeglib.h>

#include "core/fail.hpp"
#include "io/image_codecs.hpp"

namespace weft::io {
namespace {

struct JpegErrors {
  jpeg_error_mgr manager;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

void on_error(j_common_ptr codec) {
  auto* errors = reinterpret_cast<JpegErrors*>(codec->err);
  (*codec->err->format_message)(codec, errors->message);
  std::longjmp(errors->jump, 1);
}

void fail_in_codec(j_common_ptr codec, const char* message) {
  auto* errors = reinterpret_cast<JpegErrors*>(codec->err);
  std::snprintf(errors->message, sizeof(errors->message), "%s", message);
  std::longjmp(errors->jump, 1);
}

// Corrupt data is a warning to libjpeg: it decodes what it can, and so does Pillow.
void on_message(j_common_ptr) {}
void on_warning(j_common_ptr codec, int level) {
  if (level < 0) ++codec->err->num_warnings;
}

jpeg_error_mgr* install(JpegErrors& errors) {
  jpeg_std_error(&errors.manager);
  errors.manager.error_exit = on_error;
  errors.manager.output_message = on_message;
  errors.manager.emit_message = on_warning;
  errors.message[0] = '\0';
  return &errors.manager;
}

/// Decodes from memory. libjpeg's error exit is a longjmp, so every method that calls libjpeg holds
/// nothing that needs destruction and keeps its state in members.
class JpegDecoder {
 public:
  explicit JpegDecoder(std::span<const uint8_t> bytes) : bytes_(bytes) {
    codec_.err = install(errors_);
  }
  ~JpegDecoder() { jpeg_destroy_decompress(&codec_); }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  bool read_header(size_t max_memory) {
    if (setjmp(errors_.jump)) return false;
    jpeg_create_decompress(&codec_);
    codec_.mem->max_memory_to_use = static_cast<long>(max_memory);
    source_.init_source = [](j_decompress_ptr) {};
    source_.term_source = [](j_decompress_ptr) {};
    // At the end of the data libjpeg suspends: a file that ends early is incomplete, not grey.
    source_.fill_input_buffer = [](j_decompress_ptr) -> boolean { return FALSE; };
    source_.skip_input_data = [](j_decompress_ptr codec, long count) {
      if (count <= 0) return;
      const auto skipped = std::min(static_cast<size_t>(count), codec->src->bytes_in_buffer);
      codec->src->next_input_byte += skipped;
      codec->src->bytes_in_buffer -= skipped;
      if (skipped < static_cast<size_t>(count))
        fail_in_codec(reinterpret_cast<j_common_ptr>(codec), "the file ends inside a marker");
    };
    source_.resync_to_restart = jpeg_resync_to_restart;
    source_.next_input_byte = bytes_.data();
    source_.bytes_in_buffer = bytes_.size();
    codec_.src = &source_;
    progress_.progress_monitor = [](j_common_ptr codec) {
      constexpr int kMaxScans = 500;
      if (reinterpret_cast<j_decompress_ptr>(codec)->input_scan_number > kMaxScans)
        fail_in_codec(codec, "more than 500 scans");
    };
    codec_.progress = &progress_;
    jpeg_save_markers(&codec_, JPEG_APP0 + 1, 0xffff);
    if (jpeg_read_header(&codec_, TRUE) == JPEG_SUSPENDED) return truncated("inside its header");
    codec_.out_color_space = codec_.num_components == 4 ? JCS_CMYK : JCS_RGB;
    return true;
  }

  /// rgb [image_height, image_width, 3]; cmyk [image_width, 4], used for four components only.
  bool read_pixels(uint8_t* rgb, uint8_t* cmyk) {
    if (setjmp(errors_.jump)) return false;
    if (!jpeg_start_decompress(&codec_)) return truncated("before its last scan");
    const size_t stride = size_t{3} * codec_.output_width;
    while (codec_.output_scanline < codec_.output_height) {
      uint8_t* row = rgb + stride * codec_.output_scanline;
      if (codec_.out_color_space == JCS_CMYK) {
        if (jpeg_read_scanlines(&codec_, &cmyk, 1) == 0) return truncated_in_rows();
        rgb_from_inverted_cmyk(cmyk, row, codec_.output_width);
      } else {
        std::array<JSAMPROW, 16> rows;
        const auto count = std::min<JDIMENSION>(static_cast<JDIMENSION>(rows.size()),
                                                codec_.output_height - codec_.output_scanline);
        for (JDIMENSION i = 0; i < count; ++i) rows[i] = row + stride * i;
        if (jpeg_read_scanlines(&codec_, rows.data(), count) == 0) return truncated_in_rows();
      }
    }
    if (!jpeg_finish_decompress(&codec_)) return truncated("before its end marker");
    return true;
  }

  OrientationTags tags() const {
    constexpr std::string_view kExif("Exif\0\0", 6), kXmp("http://ns.adobe.com/xap/1.0/\0", 29);
    OrientationTags tags;
    for (const auto* marker = codec_.marker_list; marker; marker = marker->next) {
      const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
      if (data.starts_with(kExif)) tags.exif += data.substr(tags.exif.empty() ? 0 : kExif.size());
      if (data.starts_with(kXmp)) tags.xmp = data.substr(kXmp.size());
    }
    return tags;
  }

  uint32_t width() const { return codec_.image_width; }
  uint32_t height() const { return codec_.image_height; }
  bool is_cmyk() const { return codec_.out_color_space == JCS_CMYK; }
  /// Multi-scan files are held as coefficients, 16 bits each, until the last scan was read.
  uint64_t work_bytes() {
    const bool whole = jpeg_has_multiple_scans(&codec_);
    const uint64_t row = uint64_t{width()} * static_cast<uint64_t>(codec_.num_components);
    return whole ? 2 * row * height() : 64 * row;
  }
  const char* message() const { return errors_.message; }

 private:
  bool truncated(const char* where) {
    std::snprintf(errors_.message, sizeof(errors_.message), "the file is truncated %s", where);
    return false;
  }
  bool truncated_in_rows() {
    std::snprintf(errors_.message, sizeof(errors_.message), "the file is truncated at row %u of %u",
                  codec_.output_scanline, codec_.output_height);
    return false;
  }

  // Pillow takes every four-component JPEG as inverted, and has R = clip(K' - C' K' / 255).
  static void rgb_from_inverted_cmyk(const uint8_t* cmyk, uint8_t* rgb, size_t width) {
    for (size_t x = 0; x < width; ++x, cmyk += 4, rgb += 3) {
      const int white = cmyk[3];
      for (int c = 0; c < 3; ++c) {
        const int product = (255 - cmyk[c]) * white + 128;
        rgb[c] =
            static_cast<uint8_t>(std::clamp(white - ((product + (product >> 8)) >> 8), 0, 255));
      }
    }
  }

  std::span<const uint8_t> bytes_;
  JpegErrors errors_ = {};
  jpeg_source_mgr source_ = {};
  jpeg_progress_mgr progress_ = {};
  jpeg_decompress_struct codec_ = {};
};

class JpegEncoder {
 public:
  JpegEncoder() { codec_.err = install(errors_); }
  ~JpegEncoder() {
    jpeg_destroy_compress(&codec_);
    std::free(bytes_);
  }
  JpegEncoder(const JpegEncoder&) = delete;
  JpegEncoder& operator=(const JpegEncoder&) = delete;

  bool write(const Image& image, int quality) {
    if (setjmp(errors_.jump)) return false;
    jpeg_create_compress(&codec_);
    jpeg_mem_dest(&codec_, &bytes_, &size_);
    codec_.image_width = static_cast<JDIMENSION>(image.width);
    codec_.image_height = static_cast<JDIMENSION>(image.height);
    codec_.input_components = 3;
    codec_.in_color_space = JCS_RGB;
    jpeg_set_defaults(&codec_);
    jpeg_set_quality(&codec_, quality, TRUE);
    jpeg_start_compress(&codec_, TRUE);
    while (codec_.next_scanline < codec_.image_height) {
      auto* row = const_cast<JSAMPLE*>(image.rgb.data() +
                                       size_t{3} * codec_.image_width * codec_.next_scanline);
      jpeg_write_scanlines(&codec_, &row, 1);
    }
    jpeg_finish_compress(&codec_);
    return true;
  }
  std::string bytes() const { return {reinterpret_cast<const char*>(bytes_), size_}; }
  const char* message() const { return errors_.message; }

 private:
  JpegErrors errors_ = {};
  unsigned char* bytes_ = nullptr;
  unsigned long size_ = 0;
  jpeg_compress_struct codec_ = {};
};

}  // namespace

DecodedImage decode_jpeg(std::span<const uint8_t> bytes, std::string_view name,
                         const ImageLimits& limits) {
  JpegDecoder decoder(bytes);
  if (!decoder.read_header(limits.max_memory))
    fail("{}: damaged JPEG: {}", name, decoder.message());
  check_size(name, decoder.width(), decoder.height(), decoder.work_bytes(), limits);
  DecodedImage out{.image = {.width = decoder.width(), .height = decoder.height(), .rgb = {}},
                   .tags = decoder.tags()};
  out.image.rgb.resize(size_t{3} * decoder.width() * decoder.height());
  std::vector<uint8_t> cmyk(decoder.is_cmyk() ? size_t{4} * decoder.width() : 0);
  if (!decoder.read_pixels(out.image.rgb.data(), cmyk.data()))
    fail("{}: damaged JPEG of {} x {} pixels: {}", name, decoder.width(), decoder.height(),
         decoder.message());
  return out;
}

std::string encode_jpeg(const Image& image, int quality) {
  constexpr int64_t kMaxSide = 65500;
  if (image.width < 1 || image.height < 1 || image.width > kMaxSide || image.height > kMaxSide ||
      image.rgb.size() != static_cast<size_t>(3 * image.width * image.height))
    fail("encode_jpeg: expected 1..{} pixels a side and 3 bytes a pixel, got {} x {} and {} bytes",
         kMaxSide, image.width, image.height, image.rgb.size());
  if (quality < 1 || quality > 100) fail("encode_jpeg: quality must be 1..100, got {}", quality);
  JpegEncoder encoder;
  if (!encoder.write(image, quality)) fail("encode_jpeg: {}", encoder.message());
  return encoder.bytes();
}

}  // namespace weft::io
