#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/core/options.hpp>

/// What vision-language models say about places in an image: boxes and points in their text.
namespace weft::data {

/// In pixels, from the left and the top edge; x1 <= x2 and y1 <= y2.
struct Box {
  double x1 = 0, y1 = 0, x2 = 0, y2 = 0;
  std::string label = {};
  bool operator==(const Box&) const = default;
};

struct Point {
  double x = 0, y = 0;
  std::string label = {};
  bool operator==(const Point&) const = default;
};

/// Area of the intersection over that of the union; 0 where the union has none.
WEFT_API double iou(const Box& a, const Box& b);
/// Whether the point is in the box, its edges included.
WEFT_API bool contains(const Box& box, const Point& point);
/// The part inside a width x height image; what lies outside becomes its edge.
WEFT_API Box clamp(const Box& box, double width, double height);
WEFT_API Point clamp(const Point& point, double width, double height);

/// Where an image lies in another one: x' = scale_x x + offset_x, and the same of y. The steps that
/// lead from a picture to what a model sees are chained, and read backwards they bring a model's
/// boxes into the picture:
///
///     const auto seen = Placement::resize(640, 480, 336, 252).then(Placement::pad(0, 42));
///     const auto box = seen.back(answer.boxes[0]);
struct WEFT_API Placement {
  double scale_x = 1, scale_y = 1, offset_x = 0, offset_y = 0;

  static Placement resize(int64_t from_width, int64_t from_height, int64_t width, int64_t height);
  /// Into a larger image, with so many pixels left of it and above it.
  static Placement pad(int64_t left, int64_t top);
  /// LLaVA's expand2square: the shorter side padded on both ends, the odd pixel at the far one.
  static Placement pad_to_square(int64_t width, int64_t height);
  /// The part whose corner is at (left, top): a centre crop, or a tile (column * side, row * side).
  static Placement crop(int64_t left, int64_t top);

  Placement then(const Placement& next) const;
  Box forward(const Box& box) const;
  Box back(const Box& box) const;
  Point forward(const Point& point) const;
  Point back(const Point& point) const;
};

/// How a model writes them. Numbers are read as given below and turned into pixels.
enum class GroundingFormat {
  qwen_vl,     ///< <ref>dog</ref><box>(x1,y1),(x2,y2)</box>, in thousandths of the sides
  qwen2_vl,    ///< the same between <|object_ref_start|> <|object_ref_end|> <|box_start|>
               ///< <|box_end|>; one pair is a point
  qwen2_5_vl,  ///< JSON objects {"bbox_2d": [x1, y1, x2, y2], "label": "dog"} or {"point_2d": [x,
               ///< y], ...}, in pixels of the image as resized for the model; clamp() cuts what
               ///< passes its edge
  qwen3_vl,    ///< the same in thousandths of the sides
  paligemma,   ///< <locY1><locX1><locY2><locX2> dog ; ..., in 1024ths of the sides, 0000 to 1023
  molmo,       ///< <point x="10.5" y="20.1" alt="dog">dog</point>, <points x1= y1= x2= ...>, in
               ///< hundredths of the sides
  plain,       ///< [x1, y1, x2, y2] or [x, y] in shares of the sides, as LLaVA
};

struct GroundedText {
  /// What is left without the marks: labels inside the sentence stay, those of JSON and of `alt` go
  /// with their mark; a mark leaves no double space behind. Without a mark it is the text.
  std::string text = {};
  std::vector<Box> boxes = {};
  std::vector<Point> points = {};
  /// Marks that were begun and cannot be read: cut off, not a number, numbers outside the format's
  /// range, corners the wrong way round, location tokens that are no multiple of four.
  int64_t malformed = 0;
  int64_t segment_tokens = 0;  ///< PaliGemma's <seg000> to <seg127>, passed over
};

/// Reads a model's answer about a width x height image, in linear time; it never throws for what
/// the text says. Decode answers with their special tokens. A label of Qwen's holds for the boxes
/// that follow it directly. In the plain format lists outside 0 to 1 stay in the text. Error where
/// a side is not positive.
WEFT_API GroundedText parse_grounding(std::string_view text, GroundingFormat format, int64_t width,
                                      int64_t height);

/// The answer that names these boxes, then these points, rounded as the format is: thousandths,
/// pixels, 1024ths, a tenth of a per cent (Molmo), two decimals (plain). What lies outside of the
/// image is cut off. The plain format writes no labels. Error where the format has no boxes (Molmo)
/// or no points (PaliGemma), for a corner that is not finite, and for a label that would be read as
/// a mark.
WEFT_API std::string emit_grounding(const std::vector<Box>& boxes, const std::vector<Point>& points,
                                    GroundingFormat format, int64_t width, int64_t height);

/// The tokens that PaliGemma's format adds to a vocabulary: <loc0000> to <loc1023>, and
/// <seg000> to <seg127> where `segments` is set.
WEFT_API std::vector<std::string> location_tokens(bool segments = false);

}  // namespace weft::data

namespace weft {
template <>
inline constexpr std::string_view enum_names<data::GroundingFormat>[] = {
    "qwen_vl", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "paligemma", "molmo", "plain"};
}  // namespace weft
