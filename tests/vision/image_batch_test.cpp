#include <gmock/gmock.h>

#include <torch/types.h>

#include <weft/vision/image_batch.hpp>

namespace image_batch_test {

using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::io::Image;
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
  const auto pixels = to_pixels({ramp(9, 5)}, {.size = 4, .squash = true});
  EXPECT_EQ(pixels[0][2][3][1].item<int>(), squashed.rgb[3 * (3 * 4 + 1) + 2]);
  const auto padded = to_pixels({ramp(2, 2)}, {.size = 4, .resize = 2});
  EXPECT_EQ(padded[0][0].sum().item<int>(), 0 + 1 + 20 + 21);
  EXPECT_EQ(padded[0][0][2][2].item<int>(), 21);
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
