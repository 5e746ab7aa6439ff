#include <array>
#include <cmath>

#include <weft/data/grounding.hpp>

#include "support/gmock.hpp"

namespace grounding_text_test {

using namespace weft::test;
using weft::Error;
using namespace weft::data;
using Format = GroundingFormat;

constexpr Format kFormats[] = {Format::qwen_vl,  Format::qwen2_vl,  Format::qwen2_5_vl,
                               Format::qwen3_vl, Format::paligemma, Format::molmo,
                               Format::plain};

void expect_box(const Box& box, std::array<double, 4> corners, const std::string& label) {
  EXPECT_NEAR(box.x1, corners[0], 1e-9);
  EXPECT_NEAR(box.y1, corners[1], 1e-9);
  EXPECT_NEAR(box.x2, corners[2], 1e-9);
  EXPECT_NEAR(box.y2, corners[3], 1e-9);
  EXPECT_EQ(box.label, label);
}

TEST(Grounding, ReadsQwenVl) {
  const auto found = parse_grounding(
      "There is <ref>a dog</ref><box>(100,200),(300,400)</box><box>( 0, 0 ),(1000,1000)</box> and "
      "<box>(1,1),(2,2)</box>.",
      Format::qwen_vl, 640, 480);
  EXPECT_EQ(found.text, "There is a dog and .");
  ASSERT_EQ(found.boxes.size(), 3u);
  expect_box(found.boxes[0], {64, 96, 192, 192}, "a dog");
  expect_box(found.boxes[1], {0, 0, 640, 480}, "a dog");
  expect_box(found.boxes[2], {0.64, 0.48, 1.28, 0.96}, "");
  EXPECT_EQ(found.malformed, 0);
}

TEST(Grounding, ReadsQwen2Vl) {
  const auto found = parse_grounding(
      "<|object_ref_start|>the cat<|object_ref_end|> <|box_start|>(10,20),(30,40)<|box_end|> at "
      "<|box_start|>(500,500)<|box_end|> <ref>",
      Format::qwen2_vl, 1000, 2000);
  EXPECT_EQ(found.text, "the cat at <ref>");
  ASSERT_EQ(found.boxes.size(), 1u);
  expect_box(found.boxes[0], {10, 40, 30, 80}, "the cat");
  ASSERT_EQ(found.points.size(), 1u);
  EXPECT_EQ(found.points[0], (Point{500, 1000, ""}));
}

TEST(Grounding, ReadsTheJsonOfQwen25AndQwen3) {
  const std::string answer =
      "Here they are:\n```json\n[\n\t{\"bbox_2d\": [10, 20.5, 30, 40], \"label\": \"a \\\"red\\\" "
      "{car}\"},\n\t{\"point_2d\": [500, 1000], \"label\": \"wheel\"}\n]\n```\nDone.";
  auto found = parse_grounding(answer, Format::qwen2_5_vl, 100, 50);
  EXPECT_EQ(found.text, "Here they are:\nDone.");
  ASSERT_EQ(found.boxes.size(), 1u);
  expect_box(found.boxes[0], {10, 20.5, 30, 40}, "a \"red\" {car}");
  EXPECT_EQ(found.points, (std::vector<Point>{{500, 1000, "wheel"}}));
  found = parse_grounding(answer, Format::qwen3_vl, 100, 50);
  expect_box(found.boxes[0], {1, 1.025, 3, 2}, "a \"red\" {car}");
  EXPECT_EQ(found.points, (std::vector<Point>{{50, 50, "wheel"}}));

  found =
      parse_grounding(R"(It is {"bbox_2d": [1,2,3,4]} here, {"a": 1}.)", Format::qwen2_5_vl, 9, 9);
  EXPECT_EQ(found.text, R"(It is here, {"a": 1}.)");
  EXPECT_EQ(found.boxes.size(), 1u);
  // Cut off inside the second object.
  found = parse_grounding(R"([{"bbox_2d": [1,2,3,4], "label": "a"}, {"bbox_2d": [5, )",
                          Format::qwen2_5_vl, 9, 9);
  EXPECT_EQ(found.text, "");
  EXPECT_EQ(found.boxes.size(), 1u);
  EXPECT_EQ(found.malformed, 1);
}

TEST(Grounding, ReadsPaliGemma) {
  const auto found = parse_grounding(
      "<loc0256><loc0128><loc0512><loc1023> black cat ; "
      "<loc0000><loc0000><loc0001><loc0002><seg001><seg127> dog",
      Format::paligemma, 1024, 2048);
  EXPECT_EQ(found.text, "black cat ; dog");
  ASSERT_EQ(found.boxes.size(), 2u);
  expect_box(found.boxes[0], {128, 512, 1023, 1024}, "black cat");
  expect_box(found.boxes[1], {0, 0, 2, 2}, "dog");
  EXPECT_EQ(found.segment_tokens, 2);
  EXPECT_EQ(found.malformed, 0);
}

TEST(Grounding, ReadsMolmo) {
  const auto found = parse_grounding(
      R"(Look: <point x="10.5" y="20.1" alt="a dog">the dog</point> and )"
      R"(<points x1="1" y1="2" x2="100.0" y2="0" alt="cats &amp; co">cats</points>.)",
      Format::molmo, 200, 1000);
  EXPECT_EQ(found.text, "Look: the dog and cats.");
  ASSERT_EQ(found.points.size(), 3u);
  EXPECT_NEAR(found.points[0].x, 21, 1e-9);
  EXPECT_NEAR(found.points[0].y, 201, 1e-9);
  EXPECT_EQ(found.points[0].label, "a dog");
  EXPECT_EQ(found.points[1], (Point{2, 20, "cats & co"}));
  EXPECT_EQ(found.points[2], (Point{200, 0, "cats & co"}));
  EXPECT_EQ(found.malformed, 0);
}

TEST(Grounding, ReadsPlainLists) {
  const auto found = parse_grounding("The dog [0.25, 0.5, .75, 1] at [0.5,0.5], not [a] or [1].",
                                     Format::plain, 400, 200);
  EXPECT_EQ(found.text, "The dog at , not [a] or [1].");
  ASSERT_EQ(found.boxes.size(), 1u);
  expect_box(found.boxes[0], {100, 100, 300, 200}, "");
  EXPECT_EQ(found.points, (std::vector<Point>{{200, 100, ""}}));
  EXPECT_EQ(found.malformed, 0);
}

TEST(Grounding, CountsMarksThatCannotBeRead) {
  const auto count = [](Format format, const std::string& text) {
    const auto found = parse_grounding(text, format, 100, 100);
    EXPECT_TRUE(found.boxes.empty() && found.points.empty()) << text;
    return found.malformed;
  };
  for (const auto* text :
       {"<box>(1,2),(3,4)", "<box>(1,2),(3", "<box>(3,4),(1,2)</box>", "<box>(1,2),(3,4000)</box>",
        "<box>(1,2),(3,4),(5,6)</box>", "<box></box>", "<ref>dog", "</box>",
        "<box>(1,2),(3,nan)</box>", "<box>(-1,2),(3,4)</box>"})
    EXPECT_GE(count(Format::qwen_vl, text), 1) << text;
  EXPECT_EQ(parse_grounding("a <box>(1,2),(3", Format::qwen_vl, 9, 9).text, "a");
  for (const auto* text : {R"({"bbox_2d": [1, 2, 3]})", R"({"bbox_2d": ["1", 2, 3, 4]})",
                           R"({"bbox_2d": [5, 2, 3, 4]})", R"({"bbox_2d": [1, 2, 3, 4})",
                           R"({"point_2d": 7})", R"({"a": "bbox_2d"})", R"({"bbox_2d": [1, 2)"})
    EXPECT_EQ(count(Format::qwen2_5_vl, text), 1) << text;
  for (const auto* text : {"<loc0001><loc0002> cat", "<loc1024> cat", "<loc12", "<seg128>"})
    EXPECT_EQ(count(Format::paligemma, text), 1) << text;
  for (const auto* text :
       {R"(<point x="1" alt="a">a</point>)", R"(<point x="1" y="101" alt="a">a</point>)",
        R"(<point x="1" y=)", R"(<points alt="a">a</points>)", "</point>",
        R"(<point x="1" y="2b" alt="a">a</point>)"})
    EXPECT_GE(count(Format::molmo, text), 1) << text;
  for (const auto* text : {"[3, 1, 2, 4]", "[0.5, 0.5, 0.4, 0.6]", "[7, 8]"}) {
    EXPECT_EQ(count(Format::plain, text), 1) << text;
    EXPECT_EQ(parse_grounding(text, Format::plain, 9, 9).text, text);
  }
}

TEST(Grounding, TextWithoutMarksIsLeftAsItIs) {
  for (const auto format : kFormats) {
    const std::string text = "  a <b> {c: \"d\"} (1,2) < [x] \n";
    const auto found = parse_grounding(text, format, 10, 10);
    EXPECT_EQ(found.text, text);
    EXPECT_EQ(found.malformed, 0);
  }
}

TEST(Grounding, WritesWhatTheModelsWrite) {
  const std::vector<Box> boxes = {{64, 96, 192, 192.3, "a dog"}, {-5, 0, 700, 480, ""}};
  const std::vector<Point> points = {{320, 240, "x"}};
  const auto emit = [&](Format format) { return emit_grounding(boxes, points, format, 640, 480); };
  EXPECT_EQ(emit(Format::qwen_vl),
            "<ref>a dog</ref><box>(100,200),(300,401)</box> <box>(0,0),(1000,1000)</box>"
            "<ref>x</ref><box>(500,500)</box>");
  EXPECT_EQ(emit(Format::qwen2_5_vl),
            "```json\n[\n\t{\"bbox_2d\": [64, 96, 192, 192], \"label\": \"a dog\"},\n"
            "\t{\"bbox_2d\": [0, 0, 640, 480]},\n\t{\"point_2d\": [320, 240], \"label\": "
            "\"x\"}\n]\n```");
  EXPECT_EQ(emit(Format::plain),
            "[0.10, 0.20, 0.30, 0.40], [0.00, 0.00, 1.00, 1.00], [0.50, 0.50]");
  EXPECT_EQ(emit_grounding(boxes, {}, Format::paligemma, 640, 480),
            "<loc0205><loc0102><loc0410><loc0307> a dog ; <loc0000><loc0000><loc1023><loc1023>");
  EXPECT_EQ(emit_grounding({}, {{64, 48, "a<b"}}, Format::molmo, 640, 480),
            R"(<point x="10.0" y="10.0" alt="a&lt;b">a&lt;b</point>)");
  EXPECT_EQ(emit_grounding({}, {{64, 48, "a"}, {0, 480, "a"}}, Format::molmo, 640, 480),
            R"(<points x1="10.0" y1="10.0" x2="0.0" y2="100.0" alt="a">a</points>)");
}

TEST(Grounding, RefusesWhatAFormatCannotSay) {
  const auto call = [](std::vector<Box> boxes, std::vector<Point> points, Format format,
                       int64_t width = 10) {
    return [=] { emit_grounding(boxes, points, format, width, 10); };
  };
  EXPECT_THAT(call({{}}, {}, Format::molmo), ThrowsMessage<Error>(HasSubstr("no boxes")));
  EXPECT_THAT(call({}, {{}}, Format::paligemma), ThrowsMessage<Error>(HasSubstr("no points")));
  EXPECT_THAT(call({{0, 0, 1, 1, "a;b"}}, {}, Format::paligemma),
              ThrowsMessage<Error>(HasSubstr("'a;b' holds ';'")));
  EXPECT_THAT(call({{0, 0, 1, 1, "</ref>"}}, {}, Format::qwen_vl),
              ThrowsMessage<Error>(HasSubstr("holds '</ref>'")));
  EXPECT_THAT(call({{0, NAN, 1, 1}}, {}, Format::plain), ThrowsMessage<Error>(HasSubstr("finite")));
  EXPECT_THAT(call({}, {}, Format::plain, 0), ThrowsMessage<Error>(HasSubstr("got 0 x 10")));
  EXPECT_THAT([] { parse_grounding("", Format::plain, 1, -1); },
              ThrowsMessage<Error>(HasSubstr("got 1 x -1")));
}

TEST(Grounding, LocationTokensAreThoseOfTheFormat) {
  const auto tokens = location_tokens(true);
  ASSERT_EQ(tokens.size(), 1024u + 128u);
  EXPECT_EQ(tokens[7], "<loc0007>");
  EXPECT_EQ(tokens[1023], "<loc1023>");
  EXPECT_EQ(tokens.back(), "<seg127>");
  EXPECT_EQ(location_tokens().size(), 1024u);
}

TEST(Boxes, IouAndClamp) {
  EXPECT_NEAR(iou({0, 0, 2, 2}, {1, 1, 3, 3}), 1.0 / 7, 1e-12);
  EXPECT_EQ(iou({0, 0, 2, 2}, {2, 0, 3, 2}), 0);
  EXPECT_EQ(iou({0, 0, 2, 2}, {0, 0, 2, 2}), 1);
  EXPECT_EQ(iou({1, 1, 1, 1}, {1, 1, 1, 1}), 0);
  EXPECT_EQ(clamp(Box{-3, 2, 12, 30, "a"}, 10, 20), (Box{0, 2, 10, 20, "a"}));
  EXPECT_EQ(clamp(Point{-3, 30, "a"}, 10, 20), (Point{0, 20, "a"}));
  EXPECT_TRUE(contains({0, 0, 2, 2}, {2, 0}));
  EXPECT_FALSE(contains({0, 0, 2, 2}, {2.1, 0}));
}

TEST(Placements, BringBoxesFromTilesIntoThePicture) {
  // 640 x 480 resized to 336 x 252, padded to a square, then the tile in the second column.
  const auto seen = Placement::resize(640, 480, 336, 252).then(Placement::pad_to_square(336, 252));
  expect_box(seen.forward(Box{0, 0, 640, 480, "all"}), {0, 42, 336, 294}, "all");
  const auto tile = seen.then(Placement::crop(168, 0));
  expect_box(tile.forward(Box{320, 0, 640, 480}), {0, 42, 168, 294}, "");
  expect_box(tile.back(Box{0, 42, 168, 294}), {320, 0, 640, 480}, "");
  EXPECT_EQ(Placement::pad_to_square(5, 10).offset_x, 2);
  EXPECT_THAT([] { Placement::resize(0, 1, 1, 1); },
              ThrowsMessage<Error>(HasSubstr("got 0 x 1 and 1 x 1")));
}

}  // namespace grounding_text_test
