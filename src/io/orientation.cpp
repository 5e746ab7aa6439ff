#include "io/orientation.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

namespace weft::io {
namespace {

/// Integers of a TIFF block in its byte order; reads beyond the end give nothing.
class TiffReader {
 public:
  explicit TiffReader(std::string_view block) : block_(block) {
    const auto head = block.substr(0, 4);
    little_ = head.substr(0, 2) == "II";
    valid_ = head == std::string_view("II*\0", 4) || head == std::string_view("II\0*", 4) ||
             head == std::string_view("MM\0*", 4) || head == std::string_view("MM*\0", 4);
  }
  bool valid() const { return valid_; }
  std::optional<uint32_t> read(size_t offset, int size) const {
    if (offset > block_.size() || block_.size() - offset < static_cast<size_t>(size)) return {};
    uint32_t value = 0;
    for (int i = 0; i < size; ++i) {
      const auto byte = static_cast<uint8_t>(block_[offset + (little_ ? size - 1 - i : i)]);
      value = value << 8 | byte;
    }
    return value;
  }

 private:
  std::string_view block_;
  bool little_ = false;
  bool valid_ = false;
};

std::optional<uint32_t> exif_orientation(std::string_view block) {
  constexpr std::string_view kPrefix("Exif\0\0", 6);
  while (block.starts_with(kPrefix)) block.remove_prefix(kPrefix.size());
  const TiffReader tiff(block);
  if (!tiff.valid()) return {};
  const auto directory = tiff.read(4, 4);
  const auto count = directory ? tiff.read(*directory, 2) : std::nullopt;
  if (!count) return {};
  constexpr uint32_t kOrientation = 0x0112;
  std::optional<uint32_t> found;
  for (uint32_t i = 0; i < *count; ++i) {
    const size_t entry = size_t{*directory} + 2 + size_t{i} * 12;
    const auto tag = tiff.read(entry, 2);
    const auto type = tiff.read(entry + 2, 2);
    const auto values = tiff.read(entry + 4, 4);
    if (!tag || !type || !values || !tiff.read(entry + 8, 4)) break;
    if (*tag != kOrientation || *values != 1) continue;
    const bool is_short = *type == 3 || *type == 8, is_long = *type == 4 || *type == 9;
    if (is_short || is_long) found = tiff.read(entry + 8, is_short ? 2 : 4);
  }
  return found;
}

std::optional<uint32_t> xmp_orientation(std::string_view xmp) {
  constexpr std::string_view kKey = "tiff:Orientation";
  for (auto at = xmp.find(kKey); at != xmp.npos; at = xmp.find(kKey, at + 1)) {
    auto rest = xmp.substr(at + kKey.size());
    if (rest.starts_with("=\"")) {
      rest.remove_prefix(2);
    } else if (rest.starts_with(">")) {
      rest.remove_prefix(1);
    } else {
      continue;
    }
    if (!rest.empty() && rest[0] >= '0' && rest[0] <= '9')
      return static_cast<uint32_t>(rest[0] - '0');
  }
  return {};
}

}  // namespace

int orientation_of(const OrientationTags& tags) {
  auto value = exif_orientation(tags.exif);
  if (!value) value = xmp_orientation(tags.xmp);
  return value && *value >= 1 && *value <= 8 ? static_cast<int>(*value) : 1;
}

Image upright(Image image, int orientation) {
  if (orientation == 1) return image;
  const bool transposed = orientation >= 5;
  const int64_t width = image.width, height = image.height;
  Image out{.width = transposed ? height : width, .height = transposed ? width : height, .rgb = {}};
  out.rgb.resize(image.rgb.size());
  // Each output row walks the source from (x0, y0) along one axis.
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const int64_t dx = 3 * (flip_x ? -1 : 1), dy = 3 * width * (flip_y ? -1 : 1);
  const uint8_t* origin =
      image.rgb.data() + 3 * ((flip_x ? width - 1 : 0) + (flip_y ? (height - 1) * width : 0));
  const int64_t step = transposed ? dy : dx, row_step = transposed ? dx : dy;
  uint8_t* to = out.rgb.data();
  for (int64_t y = 0; y < out.height; ++y) {
    const uint8_t* from = origin + y * row_step;
    for (int64_t x = 0; x < out.width; ++x, to += 3) std::memcpy(to, from + x * step, 3);
  }
  return out;
}

}  // namespace weft::io
