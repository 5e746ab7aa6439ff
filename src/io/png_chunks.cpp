#include "io/png_chunks.hpp"

#include <algorithm>
#include <optional>
#include <string>

#include <zlib.h>

#include "core/fail.hpp"

namespace weft::io {
namespace {

uint32_t big_endian(const uint8_t* at) {
  return uint32_t{at[0]} << 24 | uint32_t{at[1]} << 16 | uint32_t{at[2]} << 8 | at[3];
}

bool is_chunk_name(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

/// The bytes behind a zlib stream; nothing where it is damaged, Error where it is too long.
std::optional<std::string> inflate_text(std::string_view deflated, std::string_view name,
                                        std::string_view chunk) {
  constexpr size_t kMax = size_t{1} << 20;
  std::string text(std::min(kMax, std::max<size_t>(4096, 8 * deflated.size())), '\0');
  z_stream stream = {};
  if (inflateInit(&stream) != Z_OK) fail("{}: zlib cannot start", name);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(deflated.data()));
  stream.avail_in = static_cast<uInt>(deflated.size());
  int status = Z_OK;
  size_t size = 0;
  while (status == Z_OK) {
    if (size == text.size()) {
      if (size == kMax) break;
      text.resize(std::min(kMax, 4 * size));
    }
    stream.next_out = reinterpret_cast<Bytef*>(text.data() + size);
    stream.avail_out = static_cast<uInt>(text.size() - size);
    status = inflate(&stream, Z_SYNC_FLUSH);
    size = text.size() - stream.avail_out;
  }
  const bool too_long = status == Z_OK && stream.avail_in > 0;
  inflateEnd(&stream);
  if (too_long)
    fail("{}: damaged PNG: the {} chunk inflates to more than {} bytes", name, chunk, kMax);
  if (status != Z_STREAM_END && status != Z_BUF_ERROR && status != Z_OK) return {};
  text.resize(size);
  return text;
}

/// The bytes before the first NUL, which `data` then starts behind; all of it where there is none.
std::string_view cut_at_nul(std::string_view& data) {
  const auto end = std::min(data.find('\0'), data.size());
  const auto head = data.substr(0, end);
  data.remove_prefix(std::min(end + 1, data.size()));
  return head;
}

/// ImageMagick's form: a newline, the name, the length, then hexadecimal digits in lines.
std::string raw_profile(std::string_view text) {
  for (int line = 0; line < 3; ++line) {
    const auto end = text.find('\n');
    if (end == text.npos) return {};
    text.remove_prefix(end + 1);
  }
  std::string out;
  int high = -1;
  for (const char c : text) {
    int digit = -1;
    if (c >= '0' && c <= '9') digit = c - '0';
    if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
    if (c >= 'A' && c <= 'F') digit = c - 'A' + 10;
    if (digit < 0) continue;
    if (high >= 0) out += static_cast<char>(high << 4 | digit);
    high = high >= 0 ? -1 : digit;
  }
  return out;
}

class TagReader {
 public:
  explicit TagReader(std::string_view name) : name_(name) {}

  void chunk(std::string_view kind, std::string_view data) {
    if (kind == "eXIf") exif_ = data;
    if (kind == "tEXt") {
      const auto key = cut_at_nul(data);
      text(key, data);
    }
    if (kind == "zTXt" || kind == "iCCP") {
      const auto key = cut_at_nul(data);
      if (const auto inflated = inflate_method(kind, data); inflated && kind == "zTXt")
        text(key, *inflated);
    }
    if (kind == "iTXt") international_text(data);
  }

  OrientationTags tags() && {
    return {.exif = exif_.empty() ? std::move(raw_exif_) : std::move(exif_),
            .xmp = std::move(xmp_)};
  }

 private:
  std::optional<std::string> inflate_method(std::string_view kind, std::string_view data) {
    if (data.empty()) return {};
    if (data[0] != 0)
      fail("{}: damaged PNG: unknown compression method {} in the {} chunk", name_,
           static_cast<int>(static_cast<uint8_t>(data[0])), kind);
    return inflate_text(data.substr(1), name_, kind);
  }
  void international_text(std::string_view data) {
    const auto key = cut_at_nul(data);
    if (data.size() < 2) return;
    const bool compressed = data[0] != 0, known = data[1] == 0;
    data.remove_prefix(2);
    cut_at_nul(data);  // language
    cut_at_nul(data);  // translated keyword
    if (!compressed) return text(key, data);
    if (!known) return;
    if (const auto inflated = inflate_text(data, name_, "iTXt")) text(key, *inflated);
  }
  void text(std::string_view key, std::string_view value) {
    if (key == "Raw profile type exif") raw_exif_ = raw_profile(value);
    if (key == "XML:com.adobe.xmp") xmp_ = value;
  }

  std::string_view name_;
  std::string exif_, raw_exif_, xmp_;
};

}  // namespace

OrientationTags scan_png(std::span<const uint8_t> bytes, std::string_view name) {
  constexpr size_t kSignature = 8;
  const std::string_view data(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  TagReader reader(name);
  bool pixels = false;
  for (size_t at = kSignature;;) {
    const auto kind = data.size() - at >= 8 ? data.substr(at + 4, 4) : std::string_view();
    if (kind.empty() || !is_chunk_name(kind)) {
      // Behind the pixels Pillow takes this for the end.
      if (pixels) break;
      fail("{}: damaged PNG: {} at byte {}, before the pixels", name,
           kind.empty() ? "the file ends" : "no chunk", at);
    }
    const size_t length = big_endian(bytes.data() + at), start = at + 8;
    const bool is_pixels = kind == "IDAT" || kind == "fdAT";
    if (length > data.size() - start)
      fail(
          "{}: damaged PNG: the file is truncated: its {} chunk at byte {} has {} bytes, {} are "
          "left",
          name, kind, at, length, data.size() - start);
    if (kind == "IEND") break;
    pixels |= is_pixels;
    const size_t end = start + length;
    if (kind == "IHDR" && length >= 8) {
      const auto width = big_endian(bytes.data() + start),
                 height = big_endian(bytes.data() + start + 4);
      if (width == 0 || height == 0) fail("{}: damaged PNG: {} x {} pixels", name, width, height);
    }
    if (!is_pixels) reader.chunk(kind, data.substr(start, length));
    if (!pixels) {
      if (data.size() - end < 4)
        fail("{}: damaged PNG: the file is truncated at byte {}", name, data.size());
      const auto found = crc32(0, bytes.data() + at + 4, static_cast<uInt>(length + 4));
      if (found != big_endian(bytes.data() + end))
        fail("{}: damaged PNG: wrong checksum of the {} chunk at byte {}", name, kind, at);
    }
    at = std::min(end + 4, data.size());
  }
  return std::move(reader).tags();
}

}  // namespace weft::io
