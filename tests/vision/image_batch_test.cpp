#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>

#include <torch/types.h>

#include <weft/core/json.hpp>
#include <weft/vision/image_batch.hpp>

namespace image_batch_test {

using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::io::Image;
using weft::vision::CropRounding;
using weft::vision::ResizeMode;
using weft::vision::to_pixels;

/// Channel c of pixel (x, y) is x + 20 y + 100 c.
static Image ramp(int64_t width, int64_t height) {
  Image image{width, height, std::vector<uint8_t>(3 * width * height)};
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t c = 0; c < 3; ++c)
        image.rgb[3 * (y * width + x) + c] = static_cast<uint8_t>(x + 20 * y + 100 * c);
  return image;
}

TEST(ToPixels, CropsTheCentreChannelsFirst) {
  // 7 x 4 stays 7 x 4 for a shorter side of 4; the crop's offset is 3/2, rounded down.
  const auto pixels = to_pixels({ramp(7, 4)}, {.size = 4});
  ASSERT_EQ(pixels.sizes(), (std::vector<int64_t>{1, 3, 4, 4}));
  for (int64_t c = 0; c < 3; ++c)
    for (int64_t y = 0; y < 4; ++y)
      for (int64_t x = 0; x < 4; ++x)
        EXPECT_EQ(pixels[0][c][y][x].item<int>(), static_cast<uint8_t>(x + 1 + 20 * y + 100 * c));
}

TEST(ToPixels, ResizesTheShorterSideAndTruncatesTheLonger) {
  // Shorter side 5 -> 3, longer side 9 -> int(3 * 9 / 5) = 5, then the middle 3.
  const auto image = ramp(9, 5);
  const auto resized = weft::io::resize(image, 5, 3, weft::io::Filter::bicubic);
  const auto pixels = to_pixels({image}, {.size = 3});
  for (int64_t y = 0; y < 3; ++y)
    for (int64_t x = 0; x < 3; ++x)
      EXPECT_EQ(pixels[0][1][y][x].item<int>(), resized.rgb[3 * (y * 5 + x + 1) + 1]);
}

TEST(ToPixels, SquashesAndPads) {
  const auto squashed = weft::io::resize(ramp(9, 5), 4, 4, weft::io::Filter::bicubic);
  const auto pixels = to_pixels({ramp(9, 5)}, {.size = 4, .resize_mode = ResizeMode::squash});
  EXPECT_EQ(pixels[0][2][3][1].item<int>(), squashed.rgb[3 * (3 * 4 + 1) + 2]);
  const auto padded = to_pixels({ramp(2, 2)}, {.size = 4, .resize = 2});
  EXPECT_EQ(padded[0][0].sum().item<int>(), 0 + 1 + 20 + 21);
  EXPECT_EQ(padded[0][0][2][2].item<int>(), 21);
}

TEST(ToPixels, RoundsAndFillsAsAsked) {
  // Remainders of 3: 1.5 becomes 1, or 2.
  const auto even =
      to_pixels({ramp(7, 4)}, {.size = 4, .crop_rounding = CropRounding::half_to_even});
  EXPECT_EQ(even[0][0][0][0].item<int>(), 2);
  // 5 x 3 with the longer side at 10 is 10 x 6: two rows of the fill above, two below.
  const auto longest =
      to_pixels({ramp(5, 3)}, {.size = 10, .resize_mode = ResizeMode::longest, .fill_color = 7});
  EXPECT_EQ(longest[0][1].slice(0, 0, 2).eq(7).sum().item<int>(), 20);
  EXPECT_EQ(longest[0][1].slice(0, 8, 10).eq(7).sum().item<int>(), 20);
  const auto resized = weft::io::resize(ramp(5, 3), 10, 6, weft::io::Filter::bicubic);
  EXPECT_EQ(longest[0][1][2][3].item<int>(), resized.rgb[3 * 3 + 1]);
  EXPECT_THAT([&] { to_pixels({ramp(4, 4)}, {.size = 4, .fill_color = 256}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("got 256")));
}

// images.jsonl's clip224: what CLIP's transform gives, with 5 (means) and 4 decimals (pixels).
TEST(ToPixels, GivesTheRecordedClipPixels) {
  const auto folder = std::filesystem::path(WEFT_SHARED_DIR) / "data/images";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not there";
  std::ifstream rows(folder / "images.jsonl");
  int compared = 0;
  for (std::string line; std::getline(rows, line);) {
    const auto row = weft::Json::parse(line);
    if (row.get("clip224_grid7").is_null()) continue;
    const auto file = row.at("file").as_string();
    const auto pixels = to_pixels({weft::io::read_image(folder / file)},
                                  {.crop_rounding = CropRounding::half_to_even});
    const auto out = weft::vision::normalize(pixels, {0.48145466, 0.4578275, 0.40821073},
                                             {0.26862954, 0.26130258, 0.27577711})[0];
    const auto means = row.at("clip224_mean").as_doubles();
    for (int64_t c = 0; c < 3; ++c) {
      // The recorded mean is a running sum in single precision, which is up to 6e-4 off.
      float sum = 0;
      for (int64_t i = 0; i < 224 * 224; ++i) sum += out[c].const_data_ptr<float>()[i];
      EXPECT_NEAR(sum / (224 * 224), means[static_cast<size_t>(c)], 6e-6) << file;
      const auto grid = row.at("clip224_grid7").at(static_cast<size_t>(c)).as_doubles();
      const auto points = out[c].slice(0, 16, 224, 32).slice(1, 16, 224, 32).reshape(-1);
      for (int64_t i = 0; i < 49; ++i)
        ASSERT_NEAR(points[i].item<double>(), grid[static_cast<size_t>(i)], 5.1e-5) << file;
    }
    ++compared;
  }
  EXPECT_GE(compared, 60);
}

TEST(Normalize, IsTheDefinition) {
  const auto pixels = to_pixels({ramp(4, 4)}, {.size = 4});
  const auto out = weft::vision::normalize(pixels, {0.5, 0.25, 0.125}, {0.5, 2, 4});
  const auto expected = (pixels[0][1][3][2].item<int>() / 255.0 - 0.25) / 2;
  EXPECT_NEAR(out[0][1][3][2].item<double>(), expected, 1e-6);
  EXPECT_THAT([&] { weft::vision::normalize(pixels, {0.5}, {0.5}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("got [1, 3, 4, 4], 1 and 1")));
  EXPECT_THAT([&] { to_pixels({ramp(4, 4)}, {.size = 0}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("size 0")));
}

}  // namespace image_batch_test
