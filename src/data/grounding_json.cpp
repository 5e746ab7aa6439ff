#include <algorithm>
#include <string>
#include <vector>

#include <weft/core/error.hpp>
#include <weft/core/json.hpp>

#include "data/mark_reader.hpp"

namespace weft::data {
namespace {

struct Span {
  size_t begin = 0, end = 0;
  bool closed = true;
};

/// The objects that have a member "bbox_2d" or "point_2d" of their own, in order, and what is begun
/// behind them and never closed.
std::vector<Span> find_objects(std::string_view text) {
  struct Open {
    size_t begin = 0;
    bool marked = false;
  };
  std::vector<Span> out;
  std::vector<Open> open;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '{') {
      open.push_back({at});
    } else if (c == '}' && !open.empty()) {
      if (open.back().marked) out.push_back({open.back().begin, at + 1});
      open.pop_back();
    } else if (c == '"' && !open.empty()) {
      const auto begin = at + 1;
      for (++at; at < text.size() && text[at] != '"' && text[at] != '\n'; ++at)
        if (text[at] == '\\') ++at;
      const auto word = text.substr(begin, std::min(at, text.size()) - begin);
      if (word == "bbox_2d" || word == "point_2d") open.back().marked = true;
    }
  }
  for (const auto& [begin, marked] : open) {
    if (!marked && (out.empty() || begin < out.back().end)) continue;
    out.push_back({begin, text.size(), false});
    break;
  }
  return out;
}

void read_object(std::string_view text, GroundedBuilder& out) {
  std::vector<double> box, point;
  std::string label;
  bool has_box = false, has_point = false;
  try {
    const auto object = Json::parse(text);
    has_box = object.contains("bbox_2d"), has_point = object.contains("point_2d");
    if (has_box) box = object.at("bbox_2d").as_doubles();
    if (has_point) point = object.at("point_2d").as_doubles();
    if (const auto name = object.get("label"); name.is_string()) label = name.as_string();
  } catch (const Error&) {
    out.malformed();
    return;
  }
  if (has_box) {
    if (box.size() == 4)
      out.box(box[0], box[1], box[2], box[3], label);
    else
      out.malformed();
  }
  if (has_point) {
    if (point.size() == 2)
      out.point(point[0], point[1], label);
    else
      out.malformed();
  }
  // A key that stands there as a value only.
  if (!has_box && !has_point) out.malformed();
}

/// The text between two objects without what belongs to their list: commas, brackets, fences.
std::string_view between(std::string_view text, bool after, bool before) {
  const auto skip = [&text](std::string_view word) {
    const auto rest = text.substr(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
    if (!rest.starts_with(word)) return false;
    text = rest.substr(word.size());
    return true;
  };
  const auto drop = [&text](std::string_view word) {
    const auto rest = text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
    if (!rest.ends_with(word)) return false;
    text = rest.substr(0, rest.size() - word.size());
    return true;
  };
  if (after) {
    if (!skip(",")) skip("]");
    skip("```");
  }
  if (before) {
    drop("[");
    if (!drop("```json")) drop("```");
  }
  return trimmed(text).empty() ? std::string_view() : text;
}

}  // namespace

void parse_grounding_json(std::string_view text, GroundedBuilder& out) {
  size_t at = 0;
  bool after = false;
  for (const auto& [begin, end, closed] : find_objects(text)) {
    if (begin < at) continue;  // around an object that was read
    out.text(between(text.substr(at, begin - at), after, true));
    out.mark();
    if (closed)
      read_object(text.substr(begin, end - begin), out);
    else
      out.malformed();
    at = end;
    after = true;
  }
  out.text(after ? between(text.substr(at), true, false) : text.substr(at));
}

}  // namespace weft::data
