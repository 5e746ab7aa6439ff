#include <algorithm>
#include <cmath>

#include <weft/report/boxes.hpp>

#include "core/fail.hpp"
#include "report/escape.hpp"

namespace weft::report {
namespace {

using LabelColour = std::array<uint8_t, 3>;

constexpr LabelColour kLabelColours[] = {{230, 159, 0},   {86, 180, 233}, {0, 158, 115},
                                         {240, 228, 66},  {0, 114, 178},  {213, 94, 0},
                                         {204, 121, 167}, {0, 0, 0}};

LabelColour label_colour(size_t index) { return kLabelColours[index % std::size(kLabelColours)]; }

/// Paints pixels of an image; what lies outside is left out.
class Painter {
 public:
  explicit Painter(io::Image& image) : image_(image) {}

  /// Columns [x1, x2), rows [y1, y2).
  void fill(int64_t x1, int64_t y1, int64_t x2, int64_t y2, const LabelColour& colour) {
    x1 = std::max<int64_t>(x1, 0), y1 = std::max<int64_t>(y1, 0);
    x2 = std::min(x2, image_.width), y2 = std::min(y2, image_.height);
    for (auto y = y1; y < y2; ++y)
      for (auto x = x1; x < x2; ++x) set(x, y, colour);
  }

  void frame(int64_t x1, int64_t y1, int64_t x2, int64_t y2, int64_t line,
             const LabelColour& colour) {
    fill(x1, y1, x2, std::min(y1 + line, y2), colour);
    fill(x1, std::max(y2 - line, y1), x2, y2, colour);
    fill(x1, y1, std::min(x1 + line, x2), y2, colour);
    fill(std::max(x2 - line, x1), y1, x2, y2, colour);
  }

  void disc(double cx, double cy, double radius, const LabelColour& colour) {
    const auto low = [&](double v) { return static_cast<int64_t>(std::floor(v - radius)); };
    const auto high = [&](double v, int64_t side) {
      return std::min(static_cast<int64_t>(std::ceil(v + radius)) + 1, side);
    };
    for (auto y = std::max<int64_t>(low(cy), 0); y < high(cy, image_.height); ++y)
      for (auto x = std::max<int64_t>(low(cx), 0); x < high(cx, image_.width); ++x)
        if (std::hypot(static_cast<double>(x) + 0.5 - cx, static_cast<double>(y) + 0.5 - cy) <=
            radius)
          set(x, y, colour);
  }

 private:
  void set(int64_t x, int64_t y, const LabelColour& colour) {
    std::ranges::copy(colour, image_.rgb.begin() + 3 * (y * image_.width + x));
  }

  io::Image& image_;
};

void check_corners(std::initializer_list<double> corners) {
  for (const auto corner : corners)
    if (!std::isfinite(corner)) fail("draw_boxes: corners must be finite, got {}", corner);
}

}  // namespace

std::array<uint8_t, 3> LabelColours::of(const std::string& label) {
  auto found = std::ranges::find(labels_, label);
  if (found == labels_.end()) found = labels_.insert(found, label);
  return label_colour(static_cast<size_t>(found - labels_.begin()));
}

std::string LabelColours::legend() const {
  if (labels_.empty()) return {};
  constexpr int kRow = 20;
  size_t longest = 0;
  std::string rows;
  for (size_t i = 0; i < labels_.size(); ++i) {
    const auto name = labels_[i].empty() ? std::string("unnamed") : labels_[i];
    longest = std::max(longest, name.size());
    const auto c = label_colour(i);
    const auto top = static_cast<int>(i) * kRow;
    rows += fmt::format(
        "<rect x=\"2\" y=\"{}\" width=\"14\" height=\"14\" fill=\"rgb({},{},{})\"/>"
        "<text x=\"22\" y=\"{}\">{}</text>",
        top + 3, c[0], c[1], c[2], top + 15, escape(name));
  }
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" font-size=\"14\" "
      "font-family=\"sans-serif\">{}</svg>",
      30 + 9 * longest, kRow * labels_.size(), rows);
}

io::Image draw_boxes(const io::Image& image, const std::vector<data::Box>& boxes,
                     const std::vector<data::Point>& points, LabelColours& colours,
                     const DrawOptions& options) {
  if (image.width <= 0 || image.height <= 0 ||
      image.rgb.size() != static_cast<size_t>(3 * image.width * image.height))
    fail("draw_boxes: the image must have {} x {} pixels of 3 bytes, got {} bytes", image.width,
         image.height, image.rgb.size());
  if (options.thickness < 0)
    fail("draw_boxes: thickness must not be negative, got {}", options.thickness);
  auto out = image;
  Painter painter(out);
  const auto width = static_cast<double>(image.width), height = static_cast<double>(image.height);
  const auto line = options.thickness > 0
                        ? options.thickness
                        : std::max<int64_t>(std::max(image.width, image.height) / 200, 2);
  for (const auto& box : boxes) {
    check_corners({box.x1, box.y1, box.x2, box.y2});
    const auto colour = colours.of(box.label);
    // A frame's side outside of the image stays outside.
    const auto near = [&](double v, double side) {
      return static_cast<int64_t>(std::round(std::clamp(v, -2.0 * line, side + 2.0 * line)));
    };
    const auto x1 = near(box.x1, width), y1 = near(box.y1, height);
    painter.frame(x1, y1, std::max(near(box.x2, width), x1 + 1),
                  std::max(near(box.y2, height), y1 + 1), line, colour);
  }
  for (const auto& point : points) {
    check_corners({point.x, point.y});
    const auto colour = colours.of(point.label);
    const auto radius = 2.0 * static_cast<double>(line);
    const auto x = std::clamp(point.x, -4 * radius, width + 4 * radius);
    const auto y = std::clamp(point.y, -4 * radius, height + 4 * radius);
    painter.disc(x, y, radius + static_cast<double>(line), {255, 255, 255});
    painter.disc(x, y, radius, colour);
  }
  return out;
}

}  // namespace weft::report
