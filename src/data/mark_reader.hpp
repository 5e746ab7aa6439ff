#pragma once

#include <charconv>
#include <cmath>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <weft/data/grounding.hpp>

#include "core/trimmed.hpp"

namespace weft::data {

/// Where one of `marks`, which begin with '<', stands next; the text's end where none does.
inline size_t find_mark(std::string_view text, size_t at,
                        std::initializer_list<std::string_view> marks) {
  for (at = text.find('<', at); at != std::string_view::npos; at = text.find('<', at + 1))
    for (const auto mark : marks)
      if (text.substr(at).starts_with(mark)) return at;
  return text.size();
}

/// Reads from a place in a text. What fails leaves the place as it was.
class MarkReader {
 public:
  explicit MarkReader(std::string_view text, size_t at = 0) : text_(text), at_(at) {}

  size_t at() const { return at_; }
  void move(size_t at) { at_ = at; }
  bool done() const { return at_ >= text_.size(); }
  std::string_view rest() const { return text_.substr(at_); }

  bool take(std::string_view word) {
    if (!rest().starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  void spaces() {
    while (!done() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n')) ++at_;
  }
  /// Bytes that `keep` is true for.
  template <class Keep>
  std::string_view run(Keep&& keep) {
    const auto begin = at_;
    while (!done() && keep(text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }
  /// A decimal number with white space around it, without an exponent.
  std::optional<double> number() {
    const auto begin = at_;
    spaces();
    const auto left = rest();
    const auto sign = left.substr(0, 1) == "-" ? 1u : 0u;
    double value = 0;
    if (left.size() > sign && ((left[sign] >= '0' && left[sign] <= '9') || left[sign] == '.')) {
      const auto [end, error] =
          std::from_chars(left.data(), left.data() + left.size(), value, std::chars_format::fixed);
      if (error == std::errc() && std::isfinite(value)) {
        at_ += static_cast<size_t>(end - left.data());
        spaces();
        return value;
      }
    }
    at_ = begin;
    return std::nullopt;
  }

 private:
  std::string_view text_;
  size_t at_;
};

/// Gathers what a text says, marks left out.
class GroundedBuilder {
 public:
  GroundedBuilder(double scale_x, double scale_y, double limit)
      : scale_x_(scale_x), scale_y_(scale_y), limit_(limit) {}

  void text(std::string_view piece) {
    if (piece.empty()) return;
    const auto space = [](char c) { return c == ' ' || c == '\n'; };
    if (marked_ && (out_.text.empty() || space(out_.text.back())) && space(piece[0]))
      piece.remove_prefix(1);
    marked_ = false;
    out_.text += piece;
  }
  void mark() { marked_ = any_ = true; }
  void malformed() {
    mark();
    ++out_.malformed;
  }
  void segment() {
    mark();
    ++out_.segment_tokens;
  }
  /// Numbers as written; false, and counted, where they are no box or point of the format.
  bool box(double x1, double y1, double x2, double y2, std::string_view label) {
    mark();
    if (!inside(x1) || !inside(y1) || !inside(x2) || !inside(y2) || x2 < x1 || y2 < y1) {
      ++out_.malformed;
      return false;
    }
    out_.boxes.push_back(
        {x1 * scale_x_, y1 * scale_y_, x2 * scale_x_, y2 * scale_y_, std::string(trimmed(label))});
    return true;
  }
  bool point(double x, double y, std::string_view label) {
    mark();
    if (!inside(x) || !inside(y)) {
      ++out_.malformed;
      return false;
    }
    out_.points.push_back({x * scale_x_, y * scale_y_, std::string(trimmed(label))});
    return true;
  }
  GroundedText finish() && {
    if (any_) out_.text = trimmed(out_.text);
    return std::move(out_);
  }

 private:
  bool inside(double value) const { return value >= 0 && value <= limit_; }

  double scale_x_, scale_y_, limit_;
  GroundedText out_;
  bool marked_ = false, any_ = false;
};

/// The tags of Qwen-VL and Qwen2-VL.
struct QwenTags {
  std::string_view ref, end_ref, box, end_box;
};
inline constexpr QwenTags kQwenTags = {"<ref>", "</ref>", "<box>", "</box>"};
inline constexpr QwenTags kQwen2Tags = {"<|object_ref_start|>", "<|object_ref_end|>",
                                        "<|box_start|>", "<|box_end|>"};

void parse_qwen(std::string_view text, const QwenTags& tags, GroundedBuilder& out);
void parse_grounding_json(std::string_view text, GroundedBuilder& out);
void parse_paligemma(std::string_view text, GroundedBuilder& out);
void parse_molmo(std::string_view text, GroundedBuilder& out);
void parse_plain(std::string_view text, GroundedBuilder& out);

}  // namespace weft::data
