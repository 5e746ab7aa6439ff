#include <algorithm>
#include <array>
#include <optional>

#include "core/fail.hpp"
#include "io/image_codecs.hpp"

namespace weft::io {
namespace {

enum Compression : uint32_t { kRaw = 0, kRle8 = 1, kRle4 = 2, kBitfields = 3 };

constexpr uint32_t kFileHeader = 14, kCoreHeader = 12;

struct Masks {
  uint32_t red, green, blue, alpha;
  bool operator==(const Masks&) const = default;
};

/// Where the channels of a pixel lie: bytes of it, or bits of 16.
struct Channels {
  uint32_t bits = 0;
  std::array<uint8_t, 3> at = {2, 1, 0};  // byte of red, green, blue; above 16 bits
  bool green6 = false;                    // 5-6-5 rather than 5-5-5
};

/// The layouts that Pillow knows; others are errors there too.
std::optional<Channels> channels_of(uint32_t bits, const Masks& masks) {
  const Masks rgb{masks.red, masks.green, masks.blue, 0};
  if (bits == 16) {
    if (rgb == Masks{0xf800, 0x7e0, 0x1f, 0}) return Channels{.bits = 16, .green6 = true};
    if (rgb == Masks{0x7c00, 0x3e0, 0x1f, 0}) return Channels{.bits = 16};
  }
  if (bits == 24 && rgb == Masks{0xff0000, 0xff00, 0xff, 0}) return Channels{.bits = 24};
  if (bits != 32) return {};
  constexpr uint32_t kByte0 = 0xff, kByte1 = 0xff00, kByte2 = 0xff0000, kByte3 = 0xff000000;
  static constexpr std::pair<Masks, std::array<uint8_t, 3>> kLayouts[] = {
      {{kByte2, kByte1, kByte0, 0}, {2, 1, 0}},      {{kByte3, kByte2, kByte1, 0}, {3, 2, 1}},
      {{kByte3, kByte1, kByte0, 0}, {3, 1, 0}},      {{kByte3, kByte2, kByte1, kByte0}, {3, 2, 1}},
      {{kByte0, kByte1, kByte2, kByte3}, {0, 1, 2}}, {{kByte2, kByte1, kByte0, kByte3}, {2, 1, 0}},
      {{kByte3, kByte1, kByte0, kByte2}, {3, 1, 0}}, {{0, 0, 0, 0}, {2, 1, 0}},
  };
  for (const auto& [known, at] : kLayouts)
    if (known == masks) return Channels{.bits = 32, .at = at};
  return {};
}

class BmpReader {
 public:
  BmpReader(std::span<const uint8_t> bytes, std::string_view name, const ImageLimits& limits)
      : bytes_(bytes), name_(name) {
    read_header();
    const bool run_lengths = compression_ == kRle8 || compression_ == kRle4;
    check_size(name, width_, height_, run_lengths ? width_ * height_ : 0, limits);
  }

  Image read() {
    if (bits_ <= 8) read_palette();
    Image image{.width = static_cast<int64_t>(width_),
                .height = static_cast<int64_t>(height_),
                .rgb = std::vector<uint8_t>(3 * width_ * height_)};
    const bool run_lengths = compression_ == kRle8 || compression_ == kRle4;
    const auto indices = run_lengths ? expand_runs() : std::vector<uint8_t>{};
    const uint64_t row_bytes = (width_ * bits_ + 7) / 8, stride = (width_ * bits_ + 31) / 32 * 4;
    if (!run_lengths &&
        (pixels_ > bytes_.size() || bytes_.size() - pixels_ < stride * (height_ - 1) + row_bytes))
      damaged("the file is truncated: {} bytes of pixels are missing",
              pixels_ + stride * (height_ - 1) + row_bytes - bytes_.size());
    for (uint64_t y = 0; y < height_; ++y) {
      uint8_t* to = image.rgb.data() + 3 * width_ * (top_down_ ? y : height_ - 1 - y);
      if (run_lengths) {
        for (uint64_t x = 0; x < width_; ++x) put_colour(indices[width_ * y + x], to + 3 * x);
      } else {
        const uint8_t* row = bytes_.data() + pixels_ + stride * y;
        bits_ <= 8 ? read_indices(row, to) : read_colours(row, to);
      }
    }
    return image;
  }

 private:
  template <class... T>
  [[noreturn]] void damaged(fmt::format_string<T...> format, T&&... args) const {
    fail("{}: damaged BMP: {}", name_, fmt::format(format, std::forward<T>(args)...));
  }
  template <class... T>
  [[noreturn]] void unsupported(fmt::format_string<T...> format, T&&... args) const {
    fail("{}: unsupported BMP: {}", name_, fmt::format(format, std::forward<T>(args)...));
  }

  uint32_t u16(uint64_t at) const { return read_integer(at, 2); }
  uint32_t u32(uint64_t at) const { return read_integer(at, 4); }
  uint32_t read_integer(uint64_t at, size_t size) const {
    if (at > bytes_.size() || bytes_.size() - at < size)
      damaged("the file is truncated inside its header");
    uint32_t value = 0;
    for (size_t i = size; i-- > 0;) value = value << 8 | bytes_[at + i];
    return value;
  }

  void read_header() {
    pixels_ = u32(10);
    const uint32_t size = u32(kFileHeader);
    constexpr uint32_t at = kFileHeader + 4;
    static constexpr std::array<uint32_t, 7> kSizes{kCoreHeader, 40, 52, 56, 64, 108, 124};
    if (std::find(kSizes.begin(), kSizes.end(), size) == kSizes.end())
      unsupported("a header of {} bytes", size);
    if (kFileHeader + size > bytes_.size()) damaged("the file is truncated inside its header");
    palette_ = kFileHeader + size;
    Masks masks = {};
    if (size == kCoreHeader) {
      width_ = u16(at), height_ = u16(at + 2), bits_ = u16(at + 6);
      entry_ = 3;
    } else {
      width_ = u32(at), height_ = u32(at + 4);
      // As Pillow: heights below -2^24 are not taken for those of top-down files.
      top_down_ = height_ >> 24 == 0xff;
      if (top_down_) height_ = (uint64_t{1} << 32) - height_;
      bits_ = u16(at + 10);
      compression_ = u32(at + 12);
      colours_ = u32(at + 28);
      if (compression_ == kBitfields) {
        // A header of 40 bytes has its masks behind it, where longer ones have theirs.
        masks = {u32(at + 36), u32(at + 40), u32(at + 44), size >= 56 ? u32(at + 48) : 0};
        if (size == 40) palette_ += 12;
      }
    }
    static constexpr std::array<uint32_t, 6> kDepths{1, 4, 8, 16, 24, 32};
    if (std::find(kDepths.begin(), kDepths.end(), bits_) == kDepths.end())
      unsupported("{} bits a pixel", bits_);
    read_layout(masks);
    if (colours_ == 0) colours_ = uint64_t{1} << bits_;
    if (bits_ <= 8) {
      if (colours_ > 256) unsupported("a palette of {} colours", colours_);
      if (pixels_ == kFileHeader + size) pixels_ += entry_ * colours_;
    }
    if (pixels_ == 0) pixels_ = palette_ + (bits_ <= 8 ? entry_ * colours_ : 0);
  }

  void read_layout(const Masks& masks) {
    channels_ = {.bits = bits_};
    if (compression_ == kBitfields) {
      const auto found = channels_of(bits_, masks);
      if (!found)
        unsupported("{} bits a pixel with the masks {:x}, {:x}, {:x}, {:x}", bits_, masks.red,
                    masks.green, masks.blue, masks.alpha);
      channels_ = *found;
    } else if (compression_ > kBitfields) {
      unsupported("compression {}", compression_);
    } else if (compression_ != kRaw && bits_ > 8) {
      unsupported("run lengths with {} bits a pixel", bits_);
    }
  }

  /// Colours that the file ends before are black.
  void read_palette() {
    for (uint64_t i = 0; i < colours_; ++i) {
      const uint64_t at = palette_ + entry_ * i;
      if (at + 3 > bytes_.size()) return;
      palette_rgb_[i] = {bytes_[at + 2], bytes_[at + 1], bytes_[at]};
    }
  }
  void put_colour(uint8_t index, uint8_t* to) const {
    std::copy(palette_rgb_[index].begin(), palette_rgb_[index].end(), to);
  }

  void read_indices(const uint8_t* row, uint8_t* to) const {
    const uint32_t per_byte = 8 / bits_, mask = (1u << bits_) - 1;
    for (uint64_t x = 0; x < width_; ++x, to += 3) {
      const auto shift = bits_ * (per_byte - 1 - static_cast<uint32_t>(x % per_byte));
      put_colour(static_cast<uint8_t>(row[x / per_byte] >> shift & mask), to);
    }
  }

  void read_colours(const uint8_t* row, uint8_t* to) const {
    if (bits_ == 16) {
      const uint32_t green = channels_.green6 ? 63 : 31, red_at = channels_.green6 ? 11 : 10;
      for (uint64_t x = 0; x < width_; ++x, row += 2, to += 3) {
        const uint32_t pixel = row[0] | static_cast<uint32_t>(row[1]) << 8;
        to[0] = static_cast<uint8_t>((pixel >> red_at & 31) * 255 / 31);
        to[1] = static_cast<uint8_t>((pixel >> 5 & green) * 255 / green);
        to[2] = static_cast<uint8_t>((pixel & 31) * 255 / 31);
      }
      return;
    }
    const uint32_t step = bits_ / 8;
    for (uint64_t x = 0; x < width_; ++x, row += step, to += 3)
      for (size_t c = 0; c < 3; ++c) to[c] = row[channels_.at[c]];
  }

  /// [height, width] indices in the file's order of rows. What a file skips has index 0.
  std::vector<uint8_t> expand_runs() const {
    const bool nibbles = compression_ == kRle4;
    const uint64_t total = width_ * height_;
    std::vector<uint8_t> out;
    out.reserve(total);
    uint64_t at = pixels_, x = 0;
    const auto left = [&] { return at < bytes_.size() ? bytes_.size() - at : 0; };
    const auto put = [&](uint8_t byte, uint64_t i) {
      out.push_back(!nibbles ? byte : i % 2 == 0 ? byte >> 4 : byte & 0xf);
    };
    while (out.size() < total && left() >= 2) {
      const uint8_t count = bytes_[at], value = bytes_[at + 1];
      at += 2;
      if (count > 0) {
        const uint64_t run = x + count > width_ ? width_ - std::min(x, width_) : count;
        for (uint64_t i = 0; i < run; ++i) put(value, i);
        x += run;
      } else if (value == 0) {
        out.resize((out.size() + width_ - 1) / width_ * width_);
        x = 0;
      } else if (value == 1) {
        break;
      } else if (value == 2) {
        if (left() < 2) break;
        out.resize(std::min(total, out.size() + bytes_[at] + bytes_[at + 1] * width_));
        x = out.size() % width_;
        at += 2;
      } else {
        const uint64_t pixels = std::min<uint64_t>(total - out.size(), value);
        const uint64_t need = nibbles ? (pixels + 1) / 2 : pixels, have = std::min(need, left());
        for (uint64_t i = 0; i < pixels && (nibbles ? i / 2 : i) < have; ++i)
          put(bytes_[at + (nibbles ? i / 2 : i)], i);
        at += have;
        if (have < need) break;
        x += value;
        at += at % 2;  // as Pillow: even from the start of the file, not of the pixels
      }
    }
    if (out.size() < total) damaged("its run lengths give {} of {} pixels", out.size(), total);
    out.resize(total);
    return out;
  }

  std::span<const uint8_t> bytes_;
  std::string_view name_;
  uint64_t width_ = 0, height_ = 0;
  uint32_t bits_ = 0, compression_ = kRaw;
  bool top_down_ = false;
  uint64_t pixels_ = 0;   // where they start
  uint64_t palette_ = 0;  // where it starts
  uint64_t entry_ = 4;    // bytes of a colour in it
  uint64_t colours_ = 0;  // in it
  std::array<std::array<uint8_t, 3>, 256> palette_rgb_ = {};
  Channels channels_ = {};
};

}  // namespace

DecodedImage decode_bmp(std::span<const uint8_t> bytes, std::string_view name,
                        const ImageLimits& limits) {
  return {.image = BmpReader(bytes, name, limits).read(), .tags = {}};
}

}  // namespace weft::io
