#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>
#include <set>

#include <gmock/gmock.h>

#include <weft/core/error.hpp>
#include <weft/core/json.hpp>
#include <weft/data/augment.hpp>
#include <weft/io/file.hpp>

#include "support/python.hpp"
#include "support/temp_folder.hpp"

namespace augment_test {

using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::Json;
using weft::data::Augmentation;
using weft::data::AugmentOptions;
using weft::data::draw_augmentation;

/// Every colour there is, in no order that a resize keeps: smooth in parts, with noise.
static weft::io::Image colours(int64_t width, int64_t height) {
  weft::io::Image image{width, height, std::vector<uint8_t>(3 * width * height)};
  std::mt19937 random(5);
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t c = 0; c < 3; ++c)
        image.rgb[3 * (y * width + x) + c] = static_cast<uint8_t>(
            (x / 8 + y / 16) % 3 ? random() % 256 : (x * (c + 1) + 37 * y) % 256);
  return image;
}

const AugmentOptions kStrong{.scale = {0.2, 1},
                             .horizontal_flip_prob = 0.5,
                             .color_jitter = {0.8, 0.8, 0.8, 0.5},
                             .color_jitter_prob = 0.9,
                             .gray_scale_prob = 0.2};

TEST(Augment, EqualsTorchvisionOnPillowImages) {
  WEFT_NEEDS_PYTHON();
  const weft::test::TempFolder work;
  const auto image = colours(97, 61);
  constexpr int64_t kSize = 48, kCases = 300;
  static constexpr const char* kNames[] = {"brightness", "contrast", "saturation", "hue"};
  auto cases = Json::array();
  std::vector<Augmentation> drawn;
  for (uint64_t seed = 0; seed < kCases; ++seed) {
    const auto a = draw_augmentation(kStrong, image.width, image.height, seed);
    auto factors = Json::object();
    auto order = Json::array();
    for (const auto which : a.order) order.push_back(kNames[which]);
    for (size_t i = 0; i < 4; ++i)
      if (a.factors[i]) factors.set(kNames[i], *a.factors[i]);
    cases.push_back(Json::object(
        {{"crop", std::vector{a.crop->left, a.crop->top, a.crop->width, a.crop->height}},
         {"flip", a.flip},
         {"order", order},
         {"factors", factors},
         {"gray", a.gray}}));
    drawn.push_back(a);
  }
  Json::object(
      {{"size", kSize}, {"width", image.width}, {"height", image.height}, {"cases", cases}})
      .write((work / "requests.json").string());
  std::ofstream(work / "image.rgb", std::ios::binary)
      .write(reinterpret_cast<const char*>(image.rgb.data()),
             static_cast<std::streamsize>(image.rgb.size()));
  ASSERT_EQ(weft::test::run_python_file(WEFT_DATA_TESTS "/augment.py", {work.path().string()},
                                        work / "log"),
            0)
      << weft::io::read_file(work / "log");
  const auto results = weft::io::read_file(work / "results.rgb");
  ASSERT_EQ(results.size(), static_cast<size_t>(kCases * kSize * kSize * 3));
  std::vector<uint8_t> chw(3 * kSize * kSize);
  int64_t off = 0;
  for (int64_t i = 0; i < kCases; ++i) {
    weft::data::augment_into(image, drawn[i], {.size = kSize}, chw.data());
    for (int64_t pixel = 0; pixel < kSize * kSize; ++pixel) {
      for (int64_t c = 0; c < 3; ++c) {
        const int expected = static_cast<uint8_t>(results[3 * (i * kSize * kSize + pixel) + c]);
        const int found = chw[c * kSize * kSize + pixel];
        off += expected != found;
        ASSERT_LE(std::abs(expected - found), 1) << "case " << i << ", " << cases.at(i).dump();
      }
    }
  }
  EXPECT_EQ(off, 0) << "bytes differ by 1";
}

TEST(Augment, CropsAreUniformInAreaAndLogUniformInRatio) {
  const AugmentOptions options{.scale = {0.1, 0.4}, .ratio = {0.5, 2}};
  constexpr int64_t kWidth = 2000, kHeight = 2000;
  constexpr uint64_t kDraws = 20'000;
  std::vector<double> areas, ratios, lefts;
  for (uint64_t seed = 0; seed < kDraws; ++seed) {
    const auto crop = *draw_augmentation(options, kWidth, kHeight, seed * 7919).crop;
    ASSERT_TRUE(crop.left >= 0 && crop.top >= 0 && crop.left + crop.width <= kWidth &&
                crop.top + crop.height <= kHeight);
    const auto w = static_cast<double>(crop.width), h = static_cast<double>(crop.height);
    areas.push_back((w * h / (kWidth * kHeight) - 0.1) / 0.3);
    ratios.push_back((std::log2(w / h) + 1) / 2);
    lefts.push_back((static_cast<double>(crop.left) + 0.5) / (kWidth - w + 1));
  }
  // Kolmogorov-Smirnov against the uniform distribution; 2.2 / sqrt(n) is passed once in 1e4.
  for (auto* values : {&areas, &ratios, &lefts}) {
    std::sort(values->begin(), values->end());
    double distance = 0;
    for (size_t i = 0; i < values->size(); ++i)
      distance = std::max(distance, std::abs((*values)[i] - static_cast<double>(i) / kDraws));
    EXPECT_LT(distance, 2.2 / std::sqrt(kDraws));
  }
}

TEST(Augment, AnImageThatNoDrawFitsGivesTheLargestCentredBox) {
  const AugmentOptions options{.scale = {0.99, 1}};
  const auto flat = *draw_augmentation(options, 1000, 10, 3).crop;
  EXPECT_EQ((std::vector{flat.left, flat.top, flat.width, flat.height}),
            (std::vector<int64_t>{493, 0, 13, 10}));
  const auto tall = *draw_augmentation(options, 10, 1000, 3).crop;
  EXPECT_EQ((std::vector{tall.left, tall.top, tall.width, tall.height}),
            (std::vector<int64_t>{0, 493, 10, 13}));
  const auto one = *draw_augmentation(options, 1, 1, 3).crop;
  EXPECT_EQ(one.width * one.height, 1);
}

TEST(Augment, DependsOnTheSeedAlone) {
  const auto image = colours(40, 30);
  const weft::vision::ImageTransformOptions transform{.size = 16};
  const auto make = weft::data::augmenting(kStrong, transform);
  std::set<std::vector<uint8_t>> seen;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<uint8_t> first(3 * 16 * 16), second(3 * 16 * 16);
    make(image, seed, first.data());
    make(colours(9, 9), seed + 1, second.data());
    weft::data::augmenting(kStrong, transform)(image, seed, second.data());
    EXPECT_EQ(first, second);
    seen.insert(first);
  }
  EXPECT_EQ(seen.size(), 20);
  std::vector<uint8_t> plain(3 * 16 * 16), none(3 * 16 * 16);
  weft::vision::to_pixels_into(image, transform, plain.data());
  weft::data::augmenting({.scale = {}}, transform)(image, 1, none.data());
  EXPECT_EQ(plain, none);
}

TEST(Augment, ProbabilitiesAreThoseOfTheOptions) {
  int flips = 0, jitters = 0, grays = 0;
  std::array<int, 4> first = {};
  for (uint64_t seed = 0; seed < 4000; ++seed) {
    const auto a = draw_augmentation(kStrong, 50, 50, seed);
    flips += a.flip, grays += a.gray, jitters += a.factors[0].has_value();
    first[a.order[0]] += a.factors[0].has_value();
    EXPECT_LE(std::abs(a.factors[3].value_or(0)), 0.5);
    const double brightness = a.factors[0].value_or(1);
    EXPECT_TRUE(brightness >= 0.2 - 1e-12 && brightness <= 1.8);
  }
  EXPECT_NEAR(flips, 2000, 160);
  EXPECT_NEAR(jitters, 3600, 100);
  EXPECT_NEAR(grays, 800, 130);
  for (const int count : first) EXPECT_NEAR(count, 900, 130);
}

TEST(Augment, OptionsOutOfRangeAreUsageErrors) {
  const auto check = [](const AugmentOptions& options) {
    return [options] { weft::data::augmenting(options, {}); };
  };
  EXPECT_THAT(check({.scale = {0.5}}),
              ThrowsMessage<weft::Error>(HasSubstr("scale: expected two")));
  EXPECT_THAT(check({.scale = {0.5, 1.5}}), ThrowsMessage<weft::Error>(HasSubstr("to 1,")));
  EXPECT_THAT(check({.ratio = {2, 1}}), ThrowsMessage<weft::Error>(HasSubstr("ratio: expected")));
  EXPECT_THAT(check({.color_jitter = {0.1, 0.1}, .color_jitter_prob = 1}),
              ThrowsMessage<weft::Error>(HasSubstr("color_jitter: expected 4 numbers")));
  EXPECT_THAT(check({.color_jitter = {0, 0, 0, 0.6}}),
              ThrowsMessage<weft::Error>(HasSubstr("found 0.6")));
  EXPECT_THAT(check({.gray_scale_prob = 2}), ThrowsMessage<weft::Error>(HasSubstr("found 2")));
}

}  // namespace augment_test
