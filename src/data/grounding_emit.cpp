#include <algorithm>
#include <cmath>

#include <weft/core/json.hpp>

#include "core/fail.hpp"
#include "data/mark_reader.hpp"

namespace weft::data {
namespace {

/// A corner as the format counts it, cut to the image.
struct GridPlace {
  double x = 0, y = 0;
};

class GroundingEmitter {
 public:
  GroundingEmitter(GroundingFormat format, int64_t width, int64_t height)
      : format_(format), width_(static_cast<double>(width)), height_(static_cast<double>(height)) {}

  std::string emit(const std::vector<Box>& boxes, const std::vector<Point>& points) const {
    switch (format_) {
      case GroundingFormat::qwen_vl:
        return qwen(boxes, points, kQwenTags);
      case GroundingFormat::qwen2_vl:
        return qwen(boxes, points, kQwen2Tags);
      case GroundingFormat::qwen2_5_vl:
      case GroundingFormat::qwen3_vl:
        return json(boxes, points);
      case GroundingFormat::paligemma:
        if (!points.empty()) fail("emit_grounding: PaliGemma's format has no points");
        return paligemma(boxes);
      case GroundingFormat::molmo:
        if (!boxes.empty()) fail("emit_grounding: Molmo's format has no boxes");
        return molmo(points);
      case GroundingFormat::plain:
        break;
    }
    return plain(boxes, points);
  }

 private:
  static double cut(double value, double last) {
    return std::clamp(std::round(value), 0.0, last) + 0.0;  // no -0
  }
  static void check_finite(double x, double y) {
    if (!std::isfinite(x) || !std::isfinite(y))
      fail("emit_grounding: corners must be finite, got ({}, {})", x, y);
  }
  GridPlace place(double x, double y, double parts, double last) const {
    check_finite(x, y);
    return {cut(x / width_ * parts, last), cut(y / height_ * parts, last)};
  }
  GridPlace pixel(double x, double y) const {
    check_finite(x, y);
    return {cut(x, width_), cut(y, height_)};
  }

  /// The label without white space around it.
  static std::string_view label_of(std::string_view label,
                                   std::initializer_list<std::string_view> marks) {
    for (const auto mark : marks)
      if (label.find(mark) != std::string_view::npos)
        fail("emit_grounding: the label '{}' holds '{}', which is a mark of the format", label,
             mark);
    return trimmed(label);
  }

  std::string qwen(const std::vector<Box>& boxes, const std::vector<Point>& points,
                   const QwenTags& tags) const {
    std::string out;
    const auto ref = [&](std::string_view given) {
      const auto label = label_of(given, {tags.ref, tags.end_ref, tags.box, tags.end_box});
      if (!label.empty())
        out += fmt::format("{}{}{}", tags.ref, label, tags.end_ref);
      else if (!out.empty())
        out += ' ';  // else the label before it would hold for it too
    };
    const auto pair = [&](double x, double y) {
      const auto at = place(x, y, 1000, 1000);
      return fmt::format("({:.0f},{:.0f})", at.x, at.y);
    };
    for (const auto& box : boxes) {
      ref(box.label);
      out += fmt::format("{}{},{}{}", tags.box, pair(box.x1, box.y1), pair(box.x2, box.y2),
                         tags.end_box);
    }
    for (const auto& point : points) {
      ref(point.label);
      out += fmt::format("{}{}{}", tags.box, pair(point.x, point.y), tags.end_box);
    }
    return out;
  }

  std::string json(const std::vector<Box>& boxes, const std::vector<Point>& points) const {
    const bool pixels = format_ == GroundingFormat::qwen2_5_vl;
    const auto pair = [&](double x, double y) {
      const auto at = pixels ? pixel(x, y) : place(x, y, 1000, 1000);
      return fmt::format("{:.0f}, {:.0f}", at.x, at.y);
    };
    std::string out;
    const auto object = [&](std::string_view key, const std::string& numbers,
                            std::string_view label) {
      out += fmt::format("{}\t{{\"{}\": [{}]", out.empty() ? "" : ",\n", key, numbers);
      if (!trimmed(label).empty())
        out += fmt::format(", \"label\": {}", Json(trimmed(label)).dump());
      out += '}';
    };
    for (const auto& box : boxes)
      object("bbox_2d", pair(box.x1, box.y1) + ", " + pair(box.x2, box.y2), box.label);
    for (const auto& point : points) object("point_2d", pair(point.x, point.y), point.label);
    return "```json\n[\n" + out + "\n]\n```";
  }

  std::string paligemma(const std::vector<Box>& boxes) const {
    std::string out;
    for (const auto& box : boxes) {
      const auto near = place(box.x1, box.y1, 1024, 1023), far = place(box.x2, box.y2, 1024, 1023);
      const auto label = label_of(box.label, {";", "\n", "<loc", "<seg"});
      out += fmt::format("{}<loc{:04.0f}><loc{:04.0f}><loc{:04.0f}><loc{:04.0f}>{}{}",
                         out.empty() ? "" : " ; ", near.y, near.x, far.y, far.x,
                         label.empty() ? "" : " ", label);
    }
    return out;
  }

  /// Points of one label that follow each other are one mark.
  std::string molmo(const std::vector<Point>& points) const {
    std::string out;
    for (size_t begin = 0; begin < points.size();) {
      auto end = begin + 1;
      while (end < points.size() && points[end].label == points[begin].label) ++end;
      const bool many = end - begin > 1;
      const std::string name = many ? "points" : "point";
      out += fmt::format("{}<{}", out.empty() ? "" : " ", name);
      for (auto i = begin; i < end; ++i) {
        const auto at = place(points[i].x, points[i].y, 1000, 1000);
        const auto number = many ? std::to_string(i - begin + 1) : std::string();
        out += fmt::format(" x{0}=\"{1:.1f}\" y{0}=\"{2:.1f}\"", number, at.x / 10, at.y / 10);
      }
      const auto label = escaped(trimmed(points[begin].label));
      out += fmt::format(" alt=\"{0}\">{0}</{1}>", label, name);
      begin = end;
    }
    return out;
  }

  static std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
      if (c == '&')
        out += "&amp;";
      else if (c == '<')
        out += "&lt;";
      else if (c == '>')
        out += "&gt;";
      else if (c == '"')
        out += "&quot;";
      else
        out += c;
    }
    return out;
  }

  std::string plain(const std::vector<Box>& boxes, const std::vector<Point>& points) const {
    std::string out;
    const auto pair = [&](double x, double y) {
      const auto at = place(x, y, 100, 100);
      return fmt::format("{:.2f}, {:.2f}", at.x / 100, at.y / 100);
    };
    const auto list = [&](const std::string& numbers) {
      out += fmt::format("{}[{}]", out.empty() ? "" : ", ", numbers);
    };
    for (const auto& box : boxes) list(pair(box.x1, box.y1) + ", " + pair(box.x2, box.y2));
    for (const auto& point : points) list(pair(point.x, point.y));
    return out;
  }

  GroundingFormat format_;
  double width_, height_;
};

}  // namespace

std::string emit_grounding(const std::vector<Box>& boxes, const std::vector<Point>& points,
                           GroundingFormat format, int64_t width, int64_t height) {
  if (width <= 0 || height <= 0)
    fail("emit_grounding: the image's sides must be positive, got {} x {}", width, height);
  return GroundingEmitter(format, width, height).emit(boxes, points);
}

}  // namespace weft::data
