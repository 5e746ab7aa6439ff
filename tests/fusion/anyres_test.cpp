#include <torch/torch.h>

#include <weft/fusion/anyres.hpp>
#include <weft/fusion/projector.hpp>

#include "support/gmock.hpp"
#include "support/gradcheck.hpp"
#include "support/tensors.hpp"

namespace anyres_test {

using namespace weft::test;
using weft::fusion::AnyRes;
using weft::fusion::AnyResOptions;
using weft::fusion::unpad;
using weft::vision::Resolution;

AnyRes anyres(const AnyResOptions& options = {}) {
  AnyRes out(std::make_shared<weft::fusion::ProjectorImpl>(
                 weft::fusion::ProjectorOptions{.input_size = 3, .hidden_size = 2, .depth = 1}),
             options);
  randomize(out);
  return out;
}

weft::EncoderOutput connect(AnyRes& m, const torch::Tensor& x, const torch::Tensor& images) {
  return m->connect({.visual = {.tokens = x, .images = images}});
}

torch::Tensor image_rows(const std::vector<std::vector<int64_t>>& rows) {
  std::vector<torch::Tensor> out;
  for (const auto& row : rows) out.push_back(torch::tensor(row, torch::kLong));
  return torch::stack(out);
}

TEST(Unpad, TakesOffHalfOfThePaddingOnBothSides) {
  const auto is = [](const weft::fusion::Unpadded& a, int64_t top, int64_t left, int64_t height,
                     int64_t width) {
    return a.top == top && a.left == left && a.size == Resolution{height, width};
  };
  EXPECT_TRUE(is(unpad({100, 100}, {8, 8}), 0, 0, 8, 8));
  EXPECT_TRUE(is(unpad({50, 100}, {8, 8}), 2, 0, 4, 8));
  EXPECT_TRUE(is(unpad({100, 50}, {8, 8}), 0, 2, 8, 4));
  EXPECT_TRUE(is(unpad({70, 100}, {8, 8}), 1, 0, 6, 8));  // 5.6 -> 5; (8 - 5) / 2 = 1
  EXPECT_TRUE(is(unpad({1, 100}, {8, 8}), 4, 0, 0, 8));   // nothing is left
  // 11 * (60 / 44) is 14.999999999999998 and means 15.
  EXPECT_TRUE(is(unpad({11, 44}, {18, 60}), 1, 0, 16, 60));
}

// Token (y, x) of an image's grid is that of the tile there; a newline ends each row.
TEST(AnyRes, JoinsTilesWithoutPaddingAndEndsRows) {
  auto m = anyres();
  const auto x = torch::randn({8, 4, 3});  // 2 x 2 tokens a tile
  const auto y = m->projector->connect({.visual = {.tokens = x}}).tokens;
  // 2 x 3 tiles of an image half as high as its grid, then one without a grid.
  const auto images = image_rows({{0, 2, 3, 10, 30, 1}, {7, 0, 0, 9, 9, 1}});
  const auto out = connect(m, x, images);
  std::vector<torch::Tensor> expected = {y[0]};
  for (int64_t row = 1; row < 3; ++row) {  // 4 x 6 tokens, of which the middle rows are the image
    for (int64_t column = 0; column < 6; ++column)
      expected.push_back(
          y[1 + row / 2 * 3 + column / 2].slice(0, row % 2 * 2 + column % 2).slice(0, 0, 1));
    expected.push_back(m->image_newline.unsqueeze(0));
  }
  expected.push_back(y[7]);
  expected.push_back(m->image_newline.unsqueeze(0));
  const auto all = torch::cat(expected);
  ASSERT_EQ(all.size(0), 4 + 2 * 7 + 5);
  EXPECT_TRUE(torch::equal(out.tokens, all.unsqueeze(0)));
  EXPECT_TRUE(torch::equal(out.cu_seqlens, torch::tensor({0, 18, 23}, torch::kInt)));
  EXPECT_TRUE(torch::equal(out.images, images));
}

TEST(AnyRes, AGridWithoutABaseViewIsItsTilesAlone) {
  auto m = anyres();
  const auto x = torch::randn({2, 4, 3});
  const auto y = m->projector->connect({.visual = {.tokens = x}}).tokens;
  const auto out = connect(m, x, image_rows({{0, 1, 2, 10, 20, 0}})).tokens[0];
  ASSERT_EQ(out.size(0), 2 * 5);
  EXPECT_TRUE(torch::equal(out[3], y[1][1]));
  EXPECT_TRUE(torch::equal(out[4], m->image_newline));
  EXPECT_TRUE(torch::equal(out[5], y[0][2]));
}

TEST(AnyRes, ShrinksWhatIsMoreThanTheMostTiles) {
  auto m = anyres({.max_tiles = 2});
  const auto x = torch::randn({10, 16, 3});
  const auto y = m->projector->connect({.visual = {.tokens = x}}).tokens;
  // 12 x 12 tokens, sqrt(144 / 32) = 2.12 times too many a side: 5 x 5.
  const auto out = connect(m, x, image_rows({{0, 3, 3, 20, 20, 1}})).tokens[0];
  ASSERT_EQ(out.size(0), 16 + 5 * 6);
  const auto grid = y.slice(0, 1).view({3, 3, 4, 4, 2}).transpose(1, 2).reshape({12, 12, 2});
  const auto at = [](double i, double most) {
    return std::min(std::max((i + 0.5) * 12 / 5 - 0.5, 0.0), most);
  };
  for (int64_t row = 0; row < 5; ++row)
    for (int64_t column = 0; column < 5; ++column) {
      const double v = at(static_cast<double>(row), 11), h = at(static_cast<double>(column), 11);
      const auto top = static_cast<int64_t>(v), left = static_cast<int64_t>(h);
      const double down = v - static_cast<double>(top), right = h - static_cast<double>(left);
      const auto bottom = std::min<int64_t>(top + 1, 11), end = std::min<int64_t>(left + 1, 11);
      const auto expected = (1 - down) * ((1 - right) * grid[top][left] + right * grid[top][end]) +
                            down * ((1 - right) * grid[bottom][left] + right * grid[bottom][end]);
      EXPECT_TRUE(close(out[16 + row * 6 + column], expected, 1e-5));
    }
  // Within 1.1 a side it stays: sqrt(36 / 32) = 1.06.
  const auto within = image_rows({{0, 2, 2, 20, 12, 1}});  // 8 x 4 of 8 x 8
  EXPECT_EQ(connect(m, x, within).tokens.size(1), 16 + 8 * 5);
}

TEST(AnyRes, SaysBeforehandHowManyTokensThereWillBe) {
  auto m = anyres({.tile_size = 8,
                   .grid_pinpoints = {{8, 16}, {16, 8}, {16, 16}, {24, 24}, {8, 40}},
                   .max_tiles = 3});
  const weft::vision::TilingOptions tiling{
      .view = {.size = 8, .resize_mode = weft::vision::ResizeMode::squash},
      .grid_pinpoints = m->options.grid_pinpoints};
  for (const auto& size : std::vector<Resolution>{
           {5, 5}, {11, 37}, {37, 11}, {90, 91}, {1, 300}, {300, 1}, {16, 16}, {23, 24}}) {
    const auto cut = weft::vision::tiled(size, tiling);
    const auto x = torch::randn({cut.count(), 9, 3});
    const auto images =
        image_rows({{0, cut.rows, cut.columns, size.height, size.width, cut.has_base}});
    EXPECT_EQ(connect(m, x, images).tokens.size(1), m->visual_tokens(size, 3))
        << size.height << " x " << size.width;
  }
  EXPECT_EQ(m->visual_tokens(weft::vision::TiledImage{.size = {5, 5}}, 3), 10);
}

TEST(AnyRes, HasGradients) {
  auto m = anyres({.max_tiles = 1});
  auto inputs = fp64_parameters(*m);
  inputs.push_back(torch::randn({6, 4, 3}, torch::dtype(torch::kDouble).requires_grad(true)));
  const auto images = image_rows({{0, 2, 2, 20, 12, 1}, {5, 0, 0, 4, 4, 1}});
  EXPECT_TRUE(
      gradcheck([&](const auto& in) { return connect(m, in.back(), images).tokens; }, inputs));
}

TEST(AnyResErrors, NameTheRule) {
  auto m = anyres();
  const auto images = image_rows({{0, 1, 2, 10, 20, 1}});
  EXPECT_THAT(
      [&] {
        connect(m, torch::ones({3, 4, 3}), {});
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("images [I, 6] must say")));
  EXPECT_THAT(
      [&] {
        connect(m, torch::ones({3, 5, 3}), images);
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("must be a square, got 5")));
  EXPECT_THAT(
      [&] {
        connect(m, torch::ones({2, 4, 3}), images);
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("of 2")));
  EXPECT_THAT([] { anyres({.tile_size = 0}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("got 0 and 0")));
}

}  // namespace anyres_test
