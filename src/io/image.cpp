#include <algorithm>
#include <array>
#include <cstring>

#include <weft/io/file.hpp>
#include <weft/io/image.hpp>

#include "core/fail.hpp"
#include "io/image_codecs.hpp"

namespace weft::io {
namespace {

constexpr std::string_view kJpegMagic("\xff\xd8\xff", 3);
constexpr std::string_view kPngMagic("\x89PNG\r\n\x1a\n", 8);

bool is_webp(std::string_view bytes) {
  return bytes.starts_with("RIFF") && bytes.size() >= 12 && bytes.substr(8).starts_with("WEBP");
}

using Decoder = DecodedImage (*)(std::span<const uint8_t>, std::string_view, const ImageLimits&);

Decoder decoder_of(std::string_view bytes) {
  if (bytes.starts_with(kJpegMagic)) return decode_jpeg;
  if (bytes.starts_with(kPngMagic)) return decode_png;
  if (is_webp(bytes)) return decode_webp;
  return bytes.starts_with("BM") ? decode_bmp : nullptr;
}

/// What the bytes look like, for messages.
std::string found_format(std::string_view bytes) {
  if (bytes.empty()) return "an empty file";
  struct Magic {
    size_t offset;
    std::string_view bytes;
    const char* name;
  };
  using namespace std::string_view_literals;
  static constexpr std::array kMagics{
      Magic{0, "GIF87a"sv, "GIF"},
      Magic{0, "GIF89a"sv, "GIF"},
      Magic{0, "II*\0"sv, "TIFF"},
      Magic{0, "MM\0*"sv, "TIFF"},
      Magic{4, "ftypavif"sv, "AVIF"},
      Magic{4, "ftypheic"sv, "HEIC"},
      Magic{4, "ftypheix"sv, "HEIC"},
      Magic{4, "ftypmif1"sv, "HEIF"},
      Magic{4, "ftyp"sv, "an MP4-like container"},
      Magic{0, "\0\0\0\x0cJXL "sv, "JPEG XL"},
      Magic{0, "\xff\x0a"sv, "JPEG XL"},
      Magic{0, "\0\0\0\x0cjP  "sv, "JPEG 2000"},
      Magic{0, "\xff\x4f\xff\x51"sv, "JPEG 2000"},
      Magic{0, "8BPS"sv, "Photoshop"},
      Magic{0, "%PDF"sv, "PDF"},
      Magic{0, "PK\3\4"sv, "a zip archive"},
      Magic{0, "\x1f\x8b"sv, "gzip"},
      Magic{0, "\0\0\1\0"sv, "ICO"},
  };
  for (const auto& magic : kMagics) {
    if (bytes.size() >= magic.offset && bytes.substr(magic.offset).starts_with(magic.bytes))
      return magic.name;
  }
  auto text = std::string(bytes.substr(0, 512));
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  const auto start = text.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  if (start != text.npos && text[start] == '<') {
    if (text.find("<html") != text.npos || text.find("<!doctype html") != text.npos) return "HTML";
    return text.find("<svg") != text.npos ? "SVG" : "XML";
  }
  std::string hex;
  for (const char c : bytes.substr(0, 8)) {
    if (!hex.empty()) hex += ' ';
    hex += fmt::format("{:02x}", static_cast<uint8_t>(c));
  }
  return "an unknown format that starts with " + hex;
}

}  // namespace

void check_size(std::string_view name, uint64_t width, uint64_t height, uint64_t work_bytes,
                const ImageLimits& limits) {
  const auto max_pixels = static_cast<uint64_t>(std::max<int64_t>(limits.max_pixels, 0));
  if (width == 0 || height == 0) fail("{}: image of {} x {} pixels has none", name, width, height);
  if (width > max_pixels || height > max_pixels / width)
    fail("{}: image of {} x {} pixels exceeds the limit of {} pixels", name, width, height,
         max_pixels);
  const uint64_t need = 3 * width * height + work_bytes;
  if (need > limits.max_memory)
    fail("{}: decoding {} x {} pixels needs {} bytes of memory, the limit is {}", name, width,
         height, need, limits.max_memory);
}

Image decode_image(std::span<const std::byte> bytes, std::string_view name,
                   const ImageLimits& limits) {
  if (bytes.size() > limits.max_bytes)
    fail("{}: image file of {} bytes exceeds the limit of {} bytes", name, bytes.size(),
         limits.max_bytes);
  const std::span<const uint8_t> data{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  const auto decode = decoder_of(text);
  if (!decode)
    fail("{}: expected a JPEG, PNG, WebP or BMP image, found {} ({} bytes)", name,
         found_format(text), bytes.size());
  auto decoded = decode(data, name, limits);
  return upright(std::move(decoded.image), orientation_of(decoded.tags));
}

Image read_image(const std::filesystem::path& path, const ImageLimits& limits) {
  const auto bytes = read_file(path, limits.max_bytes);
  return decode_image(std::as_bytes(std::span(bytes)), path.string(), limits);
}

Image center_crop(const Image& image, int64_t width, int64_t height) {
  if (width <= 0 || height <= 0 || width > image.width || height > image.height)
    fail("center_crop: {} x {} pixels cannot be cut from an image of {} x {}", width, height,
         image.width, image.height);
  // Half the remainder, rounded half to even: 1 -> 0, 3 -> 2, 5 -> 2.
  const auto offset = [](int64_t rest) { return rest / 2 + (rest % 4 == 3 ? 1 : 0); };
  const int64_t left = offset(image.width - width), top = offset(image.height - height);
  Image out{.width = width, .height = height, .rgb = {}};
  out.rgb.resize(static_cast<size_t>(3 * width * height));
  for (int64_t y = 0; y < height; ++y)
    std::memcpy(out.rgb.data() + 3 * y * width,
                image.rgb.data() + 3 * ((top + y) * image.width + left),
                static_cast<size_t>(3 * width));
  return out;
}

}  // namespace weft::io
