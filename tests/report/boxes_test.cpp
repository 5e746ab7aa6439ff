#include <limits>

#include <weft/report/boxes.hpp>

#include "support/gmock.hpp"

namespace boxes_test {

using namespace weft::test;
using weft::Error;
using weft::io::Image;
using weft::report::draw_boxes;
using weft::report::LabelColours;
using Colour = std::array<uint8_t, 3>;

const Image kGrey{40, 30, std::vector<uint8_t>(3 * 40 * 30, 100)};

Colour at(const Image& image, int64_t x, int64_t y) {
  const auto* pixel = &image.rgb[static_cast<size_t>(3 * (y * image.width + x))];
  return {pixel[0], pixel[1], pixel[2]};
}

int64_t changed(const Image& image) {
  int64_t count = 0;
  for (int64_t y = 0; y < image.height; ++y)
    for (int64_t x = 0; x < image.width; ++x) count += at(image, x, y) != Colour{100, 100, 100};
  return count;
}

TEST(DrawBoxes, FramesLieInsideTheirBoxes) {
  LabelColours colours;
  const auto image = draw_boxes(kGrey, {{5, 6, 25, 16, "dog"}}, {}, colours);
  const auto dog = colours.of("dog");
  for (const auto& [x, y] : {std::pair{5, 6}, {24, 15}, {6, 10}, {23, 10}, {12, 7}, {12, 14}})
    EXPECT_EQ(at(image, x, y), dog) << x << ' ' << y;
  EXPECT_EQ(changed(image), 20 * 10 - 16 * 6);  // two pixels wide
  EXPECT_EQ(kGrey.rgb[0], 100);
  const auto thin = draw_boxes(kGrey, {{5, 6, 25, 16, "dog"}}, {}, colours, {.thickness = 1});
  EXPECT_EQ(changed(thin), 20 * 10 - 18 * 8);
}

TEST(DrawBoxes, CutsAtTheEdge) {
  LabelColours colours;
  // Its left and upper lines are outside, its right and lower ones inside.
  EXPECT_EQ(changed(draw_boxes(kGrey, {{-1e9, -50, 10, 10, ""}}, {}, colours)), 100 - 64);
  EXPECT_EQ(changed(draw_boxes(kGrey, {{100, 100, 300, 200, ""}}, {}, colours)), 0);
  EXPECT_EQ(changed(draw_boxes(kGrey, {{10, 10, 10, 10, ""}}, {}, colours)), 1);
  EXPECT_EQ(changed(draw_boxes(kGrey, {}, {{-1e12, 1e12, ""}}, colours)), 0);
}

TEST(DrawBoxes, PointsAreRingedDots) {
  LabelColours colours;
  const auto image = draw_boxes(kGrey, {}, {{20, 15, "nose"}}, colours);
  EXPECT_EQ(at(image, 20, 15), colours.of("nose"));
  EXPECT_EQ(at(image, 25, 15), (Colour{255, 255, 255}));
  EXPECT_EQ(at(image, 27, 15), (Colour{100, 100, 100}));
  const auto area = changed(image);
  EXPECT_NEAR(static_cast<double>(area), 3.14159 * 36, 8);
}

TEST(DrawBoxes, LabelsKeepTheirColourAndStandInTheLegend) {
  LabelColours colours;
  EXPECT_EQ(colours.legend(), "");
  const auto image = draw_boxes(kGrey, {{0, 0, 10, 10, "a"}, {20, 0, 30, 10, "<b>"}},
                                {{5, 25, "a"}, {25, 25, ""}}, colours);
  EXPECT_EQ(at(image, 0, 0), at(image, 5, 25));
  EXPECT_NE(at(image, 0, 0), at(image, 20, 0));
  EXPECT_THAT(colours.labels(), ElementsAre("a", "<b>", ""));
  EXPECT_THAT(colours.legend(), AllOf(HasSubstr("rgb(230,159,0)"), HasSubstr(">a</text>"),
                                      HasSubstr("&lt;b&gt;</text>"), HasSubstr("unnamed")));
}

TEST(DrawBoxes, NamesWhatIsWrong) {
  LabelColours colours;
  EXPECT_THAT(
      [&] {
        draw_boxes({2, 2, {1, 2}}, {}, {}, colours);
      },
      ThrowsMessage<Error>(HasSubstr("got 2 bytes")));
  EXPECT_THAT(
      [&] {
        draw_boxes(kGrey, {{0, 0, std::numeric_limits<double>::infinity(), 1}}, {}, colours);
      },
      ThrowsMessage<Error>(HasSubstr("finite, got inf")));
  EXPECT_THAT([&] { draw_boxes(kGrey, {}, {}, colours, {.thickness = -1}); },
              ThrowsMessage<Error>(HasSubstr("got -1")));
}

}  // namespace boxes_test
