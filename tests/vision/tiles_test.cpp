#include <torch/types.h>

#include <weft/io/resize.hpp>
#include <weft/vision/tiles.hpp>

#include "support/gmock.hpp"

namespace tiles_test {

using namespace weft::test;
using namespace weft::vision;
using weft::io::Image;

Image wheel(int64_t width, int64_t height) {
  Image image{width, height, std::vector<uint8_t>(3 * width * height)};
  for (size_t i = 0; i < image.rgb.size(); ++i) image.rgb[i] = static_cast<uint8_t>(7 * i % 251);
  return image;
}

torch::Tensor planes(const Image& image) {
  return torch::from_blob(const_cast<uint8_t*>(image.rgb.data()), {image.height, image.width, 3},
                          torch::kByte)
      .permute({2, 0, 1})
      .clone();
}

TilingOptions small() {
  return {.view = {.size = 8, .resize_mode = ResizeMode::squash},
          .grid_pinpoints = {{8, 16}, {16, 8}, {16, 16}, {24, 8}, {8, 24}}};
}

TEST(Tiles, ChoosesWhatKeepsMostAndWastesLeast) {
  const TilingOptions next;
  const auto best = [&](int64_t height, int64_t width) {
    return select_best_resolution({height, width}, next.grid_pinpoints);
  };
  EXPECT_EQ(best(300, 600), (Resolution{336, 672}));
  EXPECT_EQ(best(600, 300), (Resolution{672, 336}));
  EXPECT_EQ(best(640, 640), (Resolution{672, 672}));
  EXPECT_EQ(best(1000, 300), (Resolution{1008, 336}));
  EXPECT_EQ(best(200, 2000), (Resolution{336, 1008}));
  // All keep the whole of a small image: the first of the least padding.
  EXPECT_EQ(best(10, 10), (Resolution{336, 672}));
}

TEST(Tiles, FitsIntoTheTargetRoundedUp) {
  EXPECT_EQ(fit_into({300, 600}, {336, 672}), (Resolution{336, 672}));
  EXPECT_EQ(fit_into({100, 301}, {336, 672}), (Resolution{224, 672}));  // 223.26
  EXPECT_EQ(fit_into({7, 2}, {336, 672}), (Resolution{336, 96}));
  EXPECT_EQ(fit_into({1, 900}, {336, 672}), (Resolution{1, 672}));  // 0.75
}

TEST(Tiles, PadsToASquareWithTheMeanColor) {
  EXPECT_THAT(mean_color({0.48145466, 0.4578275, 0.40821073}), ElementsAre(122, 116, 104));
  const auto image = wheel(5, 2);
  const auto square = planes(pad_to_square(image, {1, 2, 3}));
  ASSERT_EQ(square.sizes(), (std::vector<int64_t>{3, 5, 5}));
  EXPECT_TRUE(torch::equal(square.slice(1, 1, 3), planes(image)));  // 3 / 2 rows above
  for (int64_t c = 0; c < 3; ++c)
    for (const int64_t y : {0, 3, 4}) EXPECT_TRUE(square[c][y].eq(c + 1).all().item<bool>());
  EXPECT_EQ(pad_to_square(wheel(4, 4), {0, 0, 0}), wheel(4, 4));
}

// The definition: resize, pad with black, cut; and the whole image in front.
TEST(Tiles, AreThePaddedCopyCutRowByRow) {
  const std::vector<Image> images = {wheel(30, 14), wheel(9, 31), wheel(11, 11), wheel(3, 90)};
  const auto options = small();
  const auto tiles = to_tiles(images, options);
  int64_t first = 0;
  for (size_t i = 0; i < images.size(); ++i) {
    const auto& image = images[i];
    const auto target = select_best_resolution({image.height, image.width}, options.grid_pinpoints);
    const auto size = fit_into({image.height, image.width}, target);
    auto padded = torch::zeros({3, target.height, target.width}, torch::kByte);
    const auto top = (target.height - size.height) / 2, left = (target.width - size.width) / 2;
    padded.narrow(1, top, size.height)
        .narrow(2, left, size.width)
        .copy_(planes(weft::io::resize(image, size.width, size.height, options.view.filter)));
    EXPECT_TRUE(torch::equal(tiles.pixels[first],
                             planes(weft::io::resize(image, 8, 8, options.view.filter))));
    const auto rows = target.height / 8, columns = target.width / 8;
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t column = 0; column < columns; ++column)
        EXPECT_TRUE(torch::equal(tiles.pixels[first + 1 + row * columns + column],
                                 padded.narrow(1, 8 * row, 8).narrow(2, 8 * column, 8)));
    EXPECT_TRUE(
        torch::equal(tiles.images[static_cast<int64_t>(i)],
                     torch::tensor({first, rows, columns, image.height, image.width, int64_t{1}})));
    first += 1 + rows * columns;
  }
  EXPECT_EQ(tiles.pixels.size(0), first);
}

TEST(Tiles, PaddedOrAsTheyAreIsOneTile) {
  auto options = small();
  options.tiling = Tiling::pad;
  const auto image = wheel(20, 9);
  const auto padded = to_tiles({image}, options);
  EXPECT_TRUE(torch::equal(
      padded.pixels[0], planes(weft::io::resize(pad_to_square(image, mean_color(options.view.mean)),
                                                8, 8, options.view.filter))));
  EXPECT_TRUE(torch::equal(padded.images, torch::tensor({{0, 0, 0, 9, 20, 1}}, torch::kLong)));
  options.tiling = Tiling::none;
  EXPECT_TRUE(torch::equal(to_tiles({image}, options).pixels, to_pixels({image}, options.view)));
}

TEST(Tiles, PartsAreJoined) {
  const auto options = small();
  auto padded = options;
  padded.tiling = Tiling::pad;
  const auto both =
      join({to_tiles({wheel(30, 14), wheel(5, 5)}, options), to_tiles({wheel(6, 9)}, padded)});
  const auto rows = tiled_images(both.images, both.pixels.size(0));
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[1].first_tile, rows[0].count());
  EXPECT_EQ(rows[2].first_tile, rows[0].count() + rows[1].count());
  EXPECT_EQ(rows[2].count(), 1);
  EXPECT_TRUE(torch::equal(both.pixels.slice(0, rows[2].first_tile),
                           to_tiles({wheel(6, 9)}, padded).pixels));
}

TEST(TilesErrors, NameTheRule) {
  auto options = small();
  options.grid_pinpoints.push_back({8, 12});
  EXPECT_THAT(
      [&] { to_tiles({wheel(4, 4)}, options); },
      ThrowsMessage<c10::ValueError>(HasSubstr("multiples of the tiles' side 8, got 8 x 12")));
  options.grid_pinpoints.clear();
  EXPECT_THAT([&] { to_tiles({wheel(4, 4)}, options); },
              ThrowsMessage<c10::ValueError>(HasSubstr("needs grid_pinpoints")));
  EXPECT_THAT([] { to_tiles({}, small()); },
              ThrowsMessage<c10::ValueError>(HasSubstr("at least one image")));
  EXPECT_THAT([] { to_tiles({Image{}}, small()); },
              ThrowsMessage<c10::ValueError>(HasSubstr("got 0 x 0")));
  EXPECT_THAT(
      [] {
        tiled_images(torch::tensor({{1, 2, 2, 9, 9, 1}}, torch::kLong), 5);
      },
      ThrowsMessage<c10::ValueError>(
          HasSubstr("row 0 needs the tiles from 1, 2 x 2 and a base view, of 5")));
  EXPECT_THAT(
      [] {
        pad_to_square(wheel(4, 4), {0, 256, 0});
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("got 256")));
}

}  // namespace tiles_test
