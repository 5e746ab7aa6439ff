#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <weft/core/json.hpp>
#include <weft/io/digest.hpp>
#include <weft/io/image.hpp>
#include <weft/io/resize.hpp>

#include "support/python.hpp"
#include "support/temp_folder.hpp"

namespace image_test {

using testing::AnyOf;
using testing::HasSubstr;
using testing::StartsWith;
using testing::ThrowsMessage;
using weft::Error;
using weft::Json;
using weft::io::decode_image;
using weft::io::Image;
using weft::io::ImageLimits;

const std::filesystem::path kImages = std::filesystem::path(WEFT_SHARED_DIR) / "data/images";

std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
std::string digest(const Image& image) {
  return weft::io::sha256(std::as_bytes(std::span(image.rgb)));
}

/// The rows of images.jsonl whose file lies in `folder`.
std::vector<Json> rows(std::string_view folder) {
  std::vector<Json> out;
  std::ifstream file(kImages / "images.jsonl");
  for (std::string line; std::getline(file, line);) {
    const auto row = Json::parse(line);
    if (row.at("file").as_string().starts_with(folder)) out.push_back(row);
  }
  return out;
}

#define WEFT_NEEDS_IMAGES() \
  if (!std::filesystem::exists(kImages)) GTEST_SKIP() << kImages << " is not there"

TEST(Image, EveryWholeFileEqualsPillow) {
  WEFT_NEEDS_IMAGES();
  int compared = 0;
  for (const auto& row : rows("ok/")) {
    const auto file = row.at("file").as_string();
    SCOPED_TRACE(file);
    const auto image = weft::io::read_image(kImages / file);
    const auto expected = row.get("upright_rgb_sha256");
    if (expected.is_null()) continue;
    EXPECT_EQ((std::vector{image.width, image.height}), row.at("upright_size").as_ints());
    EXPECT_EQ(digest(image), expected.as_string());
    ++compared;
  }
  EXPECT_EQ(compared, 68);
}

// The digests are those of numpy's `values >> 8` of what Pillow reads as I;16.
TEST(Image, SixteenBitGreyKeepsTheHighByte) {
  WEFT_NEEDS_IMAGES();
  EXPECT_EQ(digest(weft::io::read_image(kImages / "ok/chelsea_16gray.png")),
            "5d2a864132f732805c7702eb308224fe3b016ded9e28b7ab36c77277523b6d1b");
  const auto dark = weft::io::read_image(kImages / "ok/i_trns.png");  // values up to 255
  EXPECT_EQ(dark.rgb, std::vector<uint8_t>(64 * 64 * 3, 0));
}

TEST(Image, DamagedFilesGiveTheirCauseOrPillowsPixels) {
  WEFT_NEEDS_IMAGES();
  const std::map<std::string, std::string> causes{
      {"bad_crc_idat.png", "damaged PNG"},
      {"broken.png", "no chunk at byte 8"},
      {"broken_data_stream.png", "damaged PNG"},
      {"cut_at_90pct.jpg", "truncated"},
      {"cut_at_half.jpg", "truncated"},
      {"cut_at_half.png", "truncated"},
      {"cut_in_header.jpg", "truncated inside its header"},
      {"empty.jpg", "found an empty file"},
      {"html_as.jpg", "found HTML"},
      {"huge_declared_60000x60000.png", "60000 x 60000 pixels exceeds the limit of 89478485"},
      {"huge_declared_65500x65500.jpg", "65500 x 65500 pixels exceeds the limit of 89478485"},
      {"monkey12.jpg", "precision 12"},
      {"no_eoi.jpg", "truncated at row 3"},
      {"png_decompression_dos.png", "inflates to more than 1048576 bytes"},
      {"truncated_end_chunk.png", "truncated"},
      {"truncated_image.png", "truncated"},
      {"truncated_jpeg.jpg", "truncated"},
      {"unknown_compression_method.png", "unknown compression method"},
      {"zero_height.jpg", "Empty JPEG"},
      {"zero_width.png", "0 x "},
  };
  size_t seen = 0;
  for (const auto& row : rows("broken/")) {
    const auto file = row.at("file").as_string();
    SCOPED_TRACE(file);
    if (row.at("pillow").as_string() == "ok") {
      EXPECT_EQ(digest(weft::io::read_image(kImages / file)),
                row.at("upright_rgb_sha256").as_string());
      continue;
    }
    const auto cause = causes.find(std::filesystem::path(file).filename().string());
    ASSERT_NE(cause, causes.end());
    ++seen;
    EXPECT_THAT([&] { weft::io::read_image(kImages / file); },
                ThrowsMessage<Error>(testing::AllOf(StartsWith((kImages / file).string()),
                                                    HasSubstr(cause->second))));
  }
  EXPECT_EQ(seen, causes.size());
}

// Random lossy, lossless, animated and rotated WebP; every form of BMP, a few damaged.
TEST(Image, FreshWebpAndBmpFilesEqualPillow) {
  WEFT_NEEDS_PYTHON();
  const weft::test::TempFolder work;
  constexpr int kFiles = 600;
  const auto seed = std::to_string(std::random_device{}());
  SCOPED_TRACE("seed " + seed);
  std::filesystem::create_directory(work / "files");
  ASSERT_EQ(weft::test::run_python_file(WEFT_PILLOW_IMAGES,
                                        {(work / "files").string(), seed, std::to_string(kFiles)},
                                        work / "log"),
            0)
      << read_bytes(work / "log");
  int refused = 0;
  for (int i = 0; i < kFiles; ++i) {
    const auto stem = (work / "files" / std::to_string(i)).string();
    const auto path = stem + (i % 3 ? ".bmp" : ".webp");
    const auto expected = read_bytes(stem + ".rgb");
    if (expected.empty()) {
      ++refused;
      EXPECT_THROW(weft::io::read_image(path), Error) << path;
      continue;
    }
    int32_t size[2];
    std::memcpy(size, expected.data(), sizeof(size));
    try {
      const auto image = weft::io::read_image(path);
      EXPECT_EQ((std::vector{image.width, image.height}), (std::vector<int64_t>{size[0], size[1]}));
      const std::string_view pixels(reinterpret_cast<const char*>(image.rgb.data()),
                                    image.rgb.size());
      EXPECT_TRUE(pixels == std::string_view(expected).substr(8)) << path;
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
    }
  }
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, kFiles / 4);
}

// Cut anywhere, a WebP is an error that says so; so is one whose bitstream is broken.
TEST(Image, DamagedWebpNamesItsCause) {
  WEFT_NEEDS_IMAGES();
  const auto whole = read_bytes(kImages / "ok/hopper.webp");
  for (const size_t size : {12, 16, 29, 40, 700, 3281})
    EXPECT_THAT([&] { decode_image(as_bytes(std::string_view(whole).substr(0, size)), "a.webp"); },
                ThrowsMessage<Error>("a.webp: damaged WebP: the file is truncated (" +
                                     std::to_string(size) + " bytes)"));
  auto broken = whole;
  broken[20] ^= 1;  // a key frame no more
  EXPECT_THAT([&] { decode_image(as_bytes(broken), "a.webp"); },
              ThrowsMessage<Error>(StartsWith("a.webp: damaged WebP")));
  for (const char* name : {"ok/hopper.webp", "ok/transparent.webp", "ok/shira_bird8.bmp"})
    EXPECT_THAT([&] { weft::io::read_image(kImages / name, {.max_pixels = 16000}); },
                ThrowsMessage<Error>(HasSubstr("exceeds the limit of 16000 pixels")));
}

// Upright image, shorter side to 224 bicubic, centre crop, CLIP's mean and deviation.
TEST(Image, ClipPreprocessingEqualsTheRecordedValues) {
  WEFT_NEEDS_IMAGES();
  constexpr double kMean[] = {0.48145466, 0.4578275, 0.40821073};
  constexpr double kDeviation[] = {0.26862954, 0.26130258, 0.27577711};
  constexpr int64_t kSide = 224;
  for (const auto& row : rows("ok/")) {
    if (row.get("clip224_grid7").is_null()) continue;
    if (row.get("upright_rgb_sha256").is_null()) continue;
    SCOPED_TRACE(row.at("file").as_string());
    auto image = weft::io::read_image(kImages / row.at("file").as_string());
    const int64_t shorter = std::min(image.width, image.height);
    image = weft::io::resize(image, kSide * image.width / shorter, kSide * image.height / shorter,
                             weft::io::Filter::bicubic);
    image = weft::io::center_crop(image, kSide, kSide);
    for (size_t c = 0; c < 3; ++c) {
      const auto grid = row.at("clip224_grid7").at(c).as_doubles();
      for (size_t i = 0; i < 49; ++i) {
        const size_t y = 16 + 32 * (i / 7), x = 16 + 32 * (i % 7);
        const double value = image.rgb[3 * (y * kSide + x) + c] / 255.0;
        ASSERT_NEAR((value - kMean[c]) / kDeviation[c], grid[i], 1e-4) << c << ", " << i;
      }
    }
  }
}

Image gradient(int64_t width, int64_t height) {
  Image image{.width = width, .height = height, .rgb = {}};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (const int64_t value : {x * 5, y * 7, x * y})
        image.rgb.push_back(static_cast<uint8_t>(value));
    }
  }
  return image;
}

TEST(Image, PngRoundTripsAndJpegComesClose) {
  const auto image = gradient(37, 19);
  EXPECT_EQ(decode_image(as_bytes(weft::io::encode_png(image)), "x.png"), image);
  Image smooth{.width = 40, .height = 30, .rgb = {}};
  for (int64_t i = 0; i < 40 * 30; ++i)
    smooth.rgb.insert(smooth.rgb.end(), {static_cast<uint8_t>(3 * (i % 40)), 90, 40});
  const auto decoded = decode_image(as_bytes(weft::io::encode_jpeg(smooth, 95)), "x.jpg");
  ASSERT_EQ(decoded.rgb.size(), smooth.rgb.size());
  for (size_t i = 0; i < smooth.rgb.size(); ++i) ASSERT_NEAR(decoded.rgb[i], smooth.rgb[i], 8) << i;
  EXPECT_THAT([&] { weft::io::encode_jpeg(image, 101); }, ThrowsMessage<Error>(HasSubstr("101")));
  EXPECT_THAT([&] { weft::io::encode_png({.width = 3, .height = 2}); },
              ThrowsMessage<Error>(HasSubstr("got 3 x 2 and 0 bytes")));
}

/// An APP1 marker behind the start of a JPEG.
std::string with_app1(std::string jpeg, const std::string& payload) {
  const auto size = payload.size() + 2;
  std::string marker = "\xff\xe1";
  marker += static_cast<char>(size >> 8);
  marker += static_cast<char>(size & 0xff);
  return jpeg.insert(2, marker + payload);
}

TEST(Image, OrientationIsReadFromExifInBothByteOrdersAndFromXmp) {
  using namespace std::string_literals;
  const auto jpeg = weft::io::encode_jpeg(gradient(24, 16));
  const auto stored = decode_image(as_bytes(jpeg), "x.jpg");
  const auto little = "Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"s;
  const auto big = "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"s;
  const auto xmp = "http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation=\"6\"/>"s;
  for (const auto& payload : {little, big, xmp}) {
    const auto image = decode_image(as_bytes(with_app1(jpeg, payload)), "x.jpg");
    ASSERT_EQ(image.width, 16);
    ASSERT_EQ(image.height, 24);
    // Turned clockwise: the first row is the first column from below.
    for (size_t x = 0; x < 16; ++x)
      EXPECT_EQ(image.rgb[3 * x + 1], stored.rgb[3 * (15 - x) * 24 + 1]);
  }
  for (size_t cut = 0; cut < little.size(); ++cut) {
    const auto image = decode_image(as_bytes(with_app1(jpeg, little.substr(0, cut))), "x.jpg");
    EXPECT_EQ(image.width, cut < 28 ? 24 : 16) << cut;
  }
}

TEST(Image, LimitsAreErrorsThatNameThem) {
  const auto png = weft::io::encode_png(gradient(40, 30)),
             jpeg = weft::io::encode_jpeg(gradient(40, 30));
  for (const auto& file : {png, jpeg}) {
    const auto decode = [&file](const ImageLimits& limits) {
      return [&file, limits] { decode_image(as_bytes(file), "shard.tar:a", limits); };
    };
    EXPECT_THAT(
        decode({.max_pixels = 1199}),
        ThrowsMessage<Error>("shard.tar:a: image of 40 x 30 pixels exceeds the limit of 1199 "
                             "pixels"));
    EXPECT_THAT(decode({.max_bytes = 100}),
                ThrowsMessage<Error>(HasSubstr("exceeds the limit of 100 bytes")));
    EXPECT_THAT(decode({.max_memory = 3000}), ThrowsMessage<Error>(HasSubstr("shard.tar:a: ")));
  }
}

TEST(Image, CenterCropRoundsHalfToEven) {
  const auto image = gradient(11, 9);
  const auto first = [&](int64_t width, int64_t height) {
    const auto crop = weft::io::center_crop(image, width, height);
    return std::pair(crop.rgb[0] / 5, crop.rgb[1] / 7);
  };
  EXPECT_EQ(first(11, 9), std::pair(0, 0));
  EXPECT_EQ(first(10, 8), std::pair(0, 0));
  EXPECT_EQ(first(8, 6), std::pair(2, 2));
  EXPECT_EQ(first(6, 4), std::pair(2, 2));
  EXPECT_EQ(first(5, 5), std::pair(3, 2));
  EXPECT_THAT(
      [&] { weft::io::center_crop(image, 12, 9); },
      ThrowsMessage<Error>(HasSubstr("12 x 9 pixels cannot be cut from an image of 11 x 9")));
}

TEST(Image, MutatedFilesDecodeOrThrow) {
  WEFT_NEEDS_IMAGES();
  std::mt19937_64 random(7);
  const ImageLimits limits{.max_pixels = 1'000'000, .max_memory = 50'000'000};
  int decoded = 0, refused = 0;
  for (const auto& row : rows("ok/")) {
    const auto file = row.at("file").as_string();
    if (row.at("width").as_int() * row.at("height").as_int() > 200'000) continue;
    const auto whole = read_bytes(kImages / file);
    for (int round = 0; round < 12; ++round) {
      auto bytes = whole;
      const auto draw = [&](size_t below) { return random() % std::max<size_t>(below, 1); };
      if (round % 3 == 0) bytes.resize(draw(bytes.size()));
      // Headers hold most of what a parser can get wrong.
      const size_t reach = round % 2 ? std::min<size_t>(bytes.size(), 700) : bytes.size();
      for (size_t flip = 0, flips = round % 3 == 0 ? draw(2) : 1 + draw(6); flip < flips && reach;
           ++flip)
        bytes[draw(reach)] ^= static_cast<char>(1 << draw(8));
      try {
        const auto image = decode_image(as_bytes(bytes), file, limits);
        ASSERT_EQ(image.rgb.size(), static_cast<size_t>(3 * image.width * image.height));
        ++decoded;
      } catch (const Error& error) {
        ASSERT_THAT(error.what(), StartsWith(file + ": "));
        ++refused;
      }
    }
  }
  EXPECT_GT(decoded, 50);
  EXPECT_GT(refused, 50);
}

}  // namespace image_test
