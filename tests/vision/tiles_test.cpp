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

TEST(Tiles, SplitSizesKeepTheAspectRatioAndThenFillTiles) {
  const auto of = [](int64_t height, int64_t width) {
    return split_sizes({height, width}, 1456, 364);
  };
  EXPECT_EQ(of(1000, 2000).copy, (Resolution{728, 1456}));
  EXPECT_EQ(of(1000, 2000).whole, (Resolution{728, 1456}));
  EXPECT_EQ(of(1000, 1700).copy, (Resolution{856, 1456}));
  EXPECT_EQ(of(1000, 1700).whole, (Resolution{1092, 1456}));
  EXPECT_EQ(of(3, 900).copy, (Resolution{4, 1456}));  // 4.85, and 4 is even
  EXPECT_EQ(of(3, 900).whole, (Resolution{364, 1456}));
  EXPECT_EQ(of(900, 3).whole, (Resolution{1456, 364}));
  EXPECT_EQ(split_sizes({10, 20}, 8000, 364).copy, (Resolution{2048, 4096}));
}

TEST(Tiles, NearestGridsAreOfTheNearestAspectRatio) {
  EXPECT_EQ(nearest_grid({400, 800}, 448, 1, 12), (Resolution{1, 2}));
  // 2 x 4 as well, of which the image has more than half the pixels.
  EXPECT_EQ(nearest_grid({1000, 2000}, 448, 1, 12), (Resolution{2, 4}));
  EXPECT_EQ(nearest_grid({900, 300}, 448, 1, 6), (Resolution{3, 1}));
  EXPECT_EQ(nearest_grid({100, 100}, 448, 4, 12), (Resolution{2, 2}));
  EXPECT_EQ(nearest_grid({1, 1000}, 448, 1, 12), (Resolution{1, 12}));
}

// The definitions: tiles of the copy row by row, and the whole behind them.
TEST(Tiles, SplitAndCropHaveTheWholeBehindTheirTiles) {
  auto options = small();
  options.view.filter = weft::io::Filter::lanczos;
  options.longest_edge = 26;
  options.max_tiles = 6;
  for (const auto tiling : {Tiling::split, Tiling::crop})
    for (const auto& image : {wheel(30, 14), wheel(9, 31), wheel(3, 90), wheel(7, 7)}) {
      options.tiling = tiling;
      const auto tiles = to_tiles({image}, options);
      const auto resized = [&](const Image& of, const Resolution& size) {
        return weft::io::resize(of, size.width, size.height, options.view.filter);
      };
      auto whole = image;
      Resolution size{0, 0};
      if (tiling == Tiling::split) {
        const auto sizes = split_sizes({image.height, image.width}, 26, 8);
        whole = resized(resized(image, sizes.copy), sizes.whole);
        size = sizes.whole;
      } else {
        const auto grid = nearest_grid({image.height, image.width}, 8, 1, 6);
        size = {8 * grid.height, 8 * grid.width};
      }
      const auto copy = planes(resized(whole, size));
      const auto rows = size.height / 8, columns = size.width / 8;
      const auto count = rows * columns > 1 ? rows * columns : 0;
      ASSERT_EQ(tiles.pixels.size(0), count + 1);
      for (int64_t i = 0; i < count; ++i)
        EXPECT_TRUE(torch::equal(
            tiles.pixels[i], copy.narrow(1, 8 * (i / columns), 8).narrow(2, 8 * (i % columns), 8)));
      EXPECT_TRUE(torch::equal(tiles.pixels[count], planes(resized(whole, {8, 8}))));
      EXPECT_TRUE(torch::equal(
          tiles.images, torch::tensor({{int64_t{0}, count > 0 ? rows : 0, count > 0 ? columns : 0,
                                        image.height, image.width, int64_t{1}}})));
    }
  options.tiling = Tiling::split;
  options.do_image_splitting = false;
  EXPECT_EQ(to_tiles({wheel(30, 14)}, options).pixels.size(0), 1);
  options.tiling = Tiling::crop;
  options.max_tiles = 1;
  EXPECT_TRUE(torch::equal(to_tiles({wheel(30, 14)}, options).pixels,
                           to_pixels({wheel(30, 14)}, options.view)));
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
