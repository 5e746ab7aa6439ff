#include <random>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <weft/data/grounding.hpp>

namespace grounding_properties_test {

using namespace weft::data;
using Format = GroundingFormat;

const std::vector<Format> kFormats = {Format::qwen_vl,  Format::qwen2_vl,  Format::qwen2_5_vl,
                                      Format::qwen3_vl, Format::paligemma, Format::molmo,
                                      Format::plain};

rc::Gen<double> places(int64_t side) {
  return rc::gen::map(rc::gen::inRange<int64_t>(0, 64 * side + 1),
                      [](int64_t v) { return static_cast<double>(v) / 64; });
}

rc::Gen<std::string> box_labels() {
  return rc::gen::map(rc::gen::container<std::string>(rc::gen::element(
                          'a', 'b', ' ', '"', '&', '<', '>', '\\', '{', '}', '[', ']', ',', '\'')),
                      [](const std::string& text) {
                        const auto begin = text.find_first_not_of(' ');
                        return begin == std::string::npos
                                   ? std::string()
                                   : text.substr(begin, text.find_last_not_of(' ') - begin + 1);
                      });
}

RC_GTEST_PROP(GroundingProperty, WhatIsWrittenIsRead, ()) {
  const auto format = *rc::gen::elementOf(kFormats);
  const auto width = *rc::gen::inRange<int64_t>(1, 3000),
             height = *rc::gen::inRange<int64_t>(1, 3000);
  std::vector<Box> boxes;
  std::vector<Point> points;
  const bool labels = format != Format::plain;
  if (format != Format::molmo) {
    for (auto n = *rc::gen::inRange(0, 5); n > 0; --n) {
      const auto x = *rc::gen::pair(places(width), places(width));
      const auto y = *rc::gen::pair(places(height), places(height));
      boxes.push_back({std::min(x.first, x.second), std::min(y.first, y.second),
                       std::max(x.first, x.second), std::max(y.first, y.second),
                       labels ? *box_labels() : ""});
    }
  }
  if (format != Format::paligemma) {
    for (auto n = *rc::gen::inRange(0, 5); n > 0; --n)
      points.push_back({*places(width), *places(height), labels ? *box_labels() : ""});
  }
  const auto text = emit_grounding(boxes, points, format, width, height);
  const auto found = parse_grounding(text, format, width, height);
  RC_LOG() << text;
  RC_ASSERT(found.malformed == 0);
  RC_ASSERT(found.boxes.size() == boxes.size());
  RC_ASSERT(found.points.size() == points.size());
  // Half a step of the format's grid, a whole one at PaliGemma's far edge.
  const double parts = format == Format::plain ? 100 : format == Format::paligemma ? 512 : 1000;
  const bool pixels = format == Format::qwen2_5_vl;
  const auto near = [&](double a, double b, int64_t side) {
    return std::abs(a - b) <= (pixels ? 0.5 : static_cast<double>(side) / parts / 2) +
                                  1e-9 * static_cast<double>(side);
  };
  for (size_t i = 0; i < boxes.size(); ++i) {
    const auto &a = boxes[i], &b = found.boxes[i];
    RC_ASSERT(near(a.x1, b.x1, width) && near(a.x2, b.x2, width));
    RC_ASSERT(near(a.y1, b.y1, height) && near(a.y2, b.y2, height));
    RC_ASSERT(a.label == b.label);
  }
  for (size_t i = 0; i < points.size(); ++i) {
    RC_ASSERT(near(points[i].x, found.points[i].x, width));
    RC_ASSERT(near(points[i].y, found.points[i].y, height));
    RC_ASSERT(points[i].label == found.points[i].label);
  }
  RC_ASSERT(emit_grounding(found.boxes, found.points, format, width, height) == text);
}

RC_GTEST_PROP(GroundingProperty, PlacementsAreUndone, ()) {
  Placement all;
  for (auto n = *rc::gen::inRange(0, 5); n > 0; --n) {
    const auto side = [] { return *rc::gen::inRange<int64_t>(1, 2000); };
    const auto kind = *rc::gen::inRange(0, 3);
    const auto a = side(), b = side();
    all = all.then(kind == 0   ? Placement::resize(a, b, side(), side())
                   : kind == 1 ? Placement::pad(a, b)
                               : Placement::crop(a, b));
  }
  const Point point{*places(1000), *places(1000), "a"};
  const auto again = all.back(all.forward(point));
  RC_ASSERT(std::abs(again.x - point.x) < 1e-6 && std::abs(again.y - point.y) < 1e-6);
}

TEST(Grounding, DamagedAnswersGiveNothingThatIsNotABox) {
  std::mt19937_64 random(11);
  for (const auto format : kFormats) {
    std::vector<Box> boxes;
    std::vector<Point> points;
    if (format != Format::molmo) boxes = {{1, 2, 30, 40, "dog"}, {5, 5, 9, 9, ""}};
    if (format != Format::paligemma) points = {{1, 2, "cat"}, {3, 4, "cat"}};
    const auto whole = "It is " + emit_grounding(boxes, points, format, 50, 50) + " here.";
    int64_t malformed = 0;
    for (int round = 0; round < 3000; ++round) {
      auto text = whole;
      for (auto changes = 1 + random() % 4; changes > 0; --changes) {
        const auto at = random() % text.size(), kind = random() % 4;
        if (kind == 0)
          text[at] = static_cast<char>(random());
        else if (kind == 1)
          text.erase(at, 1 + random() % 8);
        else if (kind == 2)
          text.insert(at, text.substr(random() % text.size(), random() % 20));
        else
          text.resize(at + 1);
        if (text.empty()) text = "x";
      }
      const auto found = parse_grounding(text, format, 50, 50);
      malformed += found.malformed;
      EXPECT_LE(found.text.size(), text.size());
      for (const auto& b : found.boxes)
        ASSERT_TRUE(b.x1 >= 0 && b.x1 <= b.x2 && b.y1 >= 0 && b.y1 <= b.y2 && b.y2 < 1e10) << text;
      for (const auto& p : found.points) ASSERT_TRUE(p.x >= 0 && p.y >= 0 && p.x < 1e10) << text;
    }
    EXPECT_GT(malformed, 0);
  }
}

}  // namespace grounding_properties_test
