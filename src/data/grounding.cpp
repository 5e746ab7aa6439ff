#include <algorithm>
#include <cmath>

#include <weft/data/grounding.hpp>

#include "core/fail.hpp"
#include "data/mark_reader.hpp"

namespace weft::data {
namespace {

constexpr double kFarthestPixel = 1e9;  // boxes of models pass the image's edge by a few pixels

}  // namespace

double iou(const Box& a, const Box& b) {
  const auto width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  const auto height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  const auto both = std::max(width, 0.0) * std::max(height, 0.0);
  const auto area = [](const Box& box) { return (box.x2 - box.x1) * (box.y2 - box.y1); };
  const auto all = area(a) + area(b) - both;
  return all > 0 ? both / all : 0;
}

bool contains(const Box& box, const Point& point) {
  return point.x >= box.x1 && point.x <= box.x2 && point.y >= box.y1 && point.y <= box.y2;
}

Box clamp(const Box& box, double width, double height) {
  return {std::clamp(box.x1, 0.0, width), std::clamp(box.y1, 0.0, height),
          std::clamp(box.x2, 0.0, width), std::clamp(box.y2, 0.0, height), box.label};
}

Point clamp(const Point& point, double width, double height) {
  return {std::clamp(point.x, 0.0, width), std::clamp(point.y, 0.0, height), point.label};
}

Placement Placement::resize(int64_t from_width, int64_t from_height, int64_t width,
                            int64_t height) {
  if (from_width <= 0 || from_height <= 0 || width <= 0 || height <= 0)
    fail("Placement: sides must be positive, got {} x {} and {} x {}", from_width, from_height,
         width, height);
  return {static_cast<double>(width) / static_cast<double>(from_width),
          static_cast<double>(height) / static_cast<double>(from_height)};
}

Placement Placement::pad(int64_t left, int64_t top) {
  return {1, 1, static_cast<double>(left), static_cast<double>(top)};
}

Placement Placement::pad_to_square(int64_t width, int64_t height) {
  const auto side = std::max(width, height);
  return pad((side - width) / 2, (side - height) / 2);
}

Placement Placement::crop(int64_t left, int64_t top) { return pad(-left, -top); }

Placement Placement::then(const Placement& next) const {
  return {scale_x * next.scale_x, scale_y * next.scale_y, offset_x * next.scale_x + next.offset_x,
          offset_y * next.scale_y + next.offset_y};
}

Point Placement::forward(const Point& point) const {
  return {point.x * scale_x + offset_x, point.y * scale_y + offset_y, point.label};
}

Point Placement::back(const Point& point) const {
  return {(point.x - offset_x) / scale_x, (point.y - offset_y) / scale_y, point.label};
}

Box Placement::forward(const Box& box) const {
  const auto near = forward(Point{box.x1, box.y1}), far = forward(Point{box.x2, box.y2});
  return {near.x, near.y, far.x, far.y, box.label};
}

Box Placement::back(const Box& box) const {
  const auto near = back(Point{box.x1, box.y1}), far = back(Point{box.x2, box.y2});
  return {near.x, near.y, far.x, far.y, box.label};
}

GroundedText parse_grounding(std::string_view text, GroundingFormat format, int64_t width,
                             int64_t height) {
  if (width <= 0 || height <= 0)
    fail("parse_grounding: the image's sides must be positive, got {} x {}", width, height);
  const auto read = [&](double parts, double limit, auto&& parse) {
    GroundedBuilder out(static_cast<double>(width) / parts, static_cast<double>(height) / parts,
                        limit);
    parse(out);
    return std::move(out).finish();
  };
  switch (format) {
    case GroundingFormat::qwen_vl:
      return read(1000, 1000, [&](auto& out) { parse_qwen(text, kQwenTags, out); });
    case GroundingFormat::qwen2_vl:
      return read(1000, 1000, [&](auto& out) { parse_qwen(text, kQwen2Tags, out); });
    case GroundingFormat::qwen3_vl:
      return read(1000, 1000, [&](auto& out) { parse_grounding_json(text, out); });
    case GroundingFormat::paligemma:
      return read(1024, 1023, [&](auto& out) { parse_paligemma(text, out); });
    case GroundingFormat::molmo:
      return read(100, 100, [&](auto& out) { parse_molmo(text, out); });
    case GroundingFormat::plain:
      return read(1, 1, [&](auto& out) { parse_plain(text, out); });
    case GroundingFormat::qwen2_5_vl:
      break;
  }
  GroundedBuilder out(1, 1, kFarthestPixel);
  parse_grounding_json(text, out);
  return std::move(out).finish();
}

std::vector<std::string> location_tokens(bool segments) {
  std::vector<std::string> out;
  for (int i = 0; i < 1024; ++i) out.push_back(fmt::format("<loc{:04}>", i));
  for (int i = 0; segments && i < 128; ++i) out.push_back(fmt::format("<seg{:03}>", i));
  return out;
}

}  // namespace weft::data
