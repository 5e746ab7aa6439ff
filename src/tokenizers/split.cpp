#include "tokenizers/split.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {
namespace {

// Matches as they come, with what lies between them.
class Parts {
 public:
  Parts(std::string_view text, std::vector<Part>& out) : size_(text.size()), out_(out) {}
  void match(size_t begin, size_t end) {
    if (begin > done_) out_.push_back({done_, begin, false});
    out_.push_back({begin, end, true});
    done_ = end;
  }
  void finish() {
    if (size_ > done_) out_.push_back({done_, size_, false});
  }

 private:
  size_t size_, done_ = 0;
  std::vector<Part>& out_;
};

}  // namespace

Behavior read_behavior(const std::string& name, const Where& where) {
  static constexpr std::pair<std::string_view, Behavior> kNames[] = {
      {"Removed", Behavior::removed},
      {"Isolated", Behavior::isolated},
      {"MergedWithPrevious", Behavior::merged_with_previous},
      {"MergedWithNext", Behavior::merged_with_next},
      {"Contiguous", Behavior::contiguous}};
  for (const auto& [known, behavior] : kNames)
    if (name == known) return behavior;
  fail_at(where, fmt::format("expected Removed, Isolated, MergedWithPrevious, MergedWithNext or "
                             "Contiguous, found '{}'",
                             name));
}

void CharacterPattern::parts(std::string_view text, std::vector<Part>& out) const {
  Parts parts(text, out);
  for (size_t at = 0; at < text.size();) {
    const auto begin = at;
    if (matches_(next_code_point(text, at))) parts.match(begin, at);
  }
  parts.finish();
}

void StringPattern::parts(std::string_view text, std::vector<Part>& out) const {
  Parts parts(text, out);
  for (size_t at = 0; !text_.empty() && (at = text.find(text_, at)) != std::string_view::npos;
       at += text_.size())
    parts.match(at, at + text_.size());
  parts.finish();
}

void RegexPattern::parts(std::string_view text, std::vector<Part>& out) const {
  Parts parts(text, out);
  regex_.each_match(text, [&](size_t begin, size_t end) { parts.match(begin, end); });
  parts.finish();
}

void WordPattern::parts(std::string_view text, std::vector<Part>& out) const {
  enum Kind { kSpace, kWord, kOther };
  Parts parts(text, out);
  size_t begin = 0;
  Kind kind = kSpace;
  for (size_t at = 0; at < text.size();) {
    const auto start = at;
    const auto c = next_code_point(text, at);
    const auto next = is_word(c) ? kWord : is_white_space(c) ? kSpace : kOther;
    if (next == kind) continue;
    if (kind != kSpace) parts.match(begin, start);
    begin = start;
    kind = next;
  }
  if (kind != kSpace) parts.match(begin, text.size());
  parts.finish();
}

void join_parts(const std::vector<Part>& parts, Behavior behavior, std::vector<Piece>& out) {
  const auto first = out.size();
  bool before = false;
  const auto take = [&](const Part& part, bool joins, bool backward) {
    if (joins && out.size() > first) {
      (backward ? out.back().begin : out.back().end) = backward ? part.begin : part.end;
    } else {
      out.push_back({part.begin, part.end});
    }
    before = part.match;
  };
  switch (behavior) {
    case Behavior::removed:
      for (const auto& part : parts)
        if (!part.match) out.push_back({part.begin, part.end});
      break;
    case Behavior::isolated:
      for (const auto& part : parts) out.push_back({part.begin, part.end});
      break;
    case Behavior::contiguous:
      for (const auto& part : parts) take(part, part.match == before, false);
      break;
    case Behavior::merged_with_previous:
      for (const auto& part : parts) take(part, part.match && !before, false);
      break;
    case Behavior::merged_with_next:
      for (auto part = parts.rbegin(); part != parts.rend(); ++part)
        take(*part, part->match && !before, true);
      std::reverse(out.begin() + first, out.end());
      break;
  }
  out.erase(std::remove_if(out.begin() + first, out.end(),
                           [](const Piece& piece) { return piece.begin == piece.end; }),
            out.end());
}

void Split::split(Text& text, std::vector<Piece>& pieces) const {
  static thread_local std::vector<Piece> out;
  static thread_local std::vector<Part> parts;
  out.clear();
  for (const auto& piece : pieces) {
    parts.clear();
    pattern_->parts(std::string_view(text.bytes).substr(piece.begin, piece.end - piece.begin),
                    parts);
    for (auto& part : parts) {
      part.begin += piece.begin;
      part.end += piece.begin;
      part.match ^= invert_;
    }
    join_parts(parts, behavior_, out);
  }
  pieces.assign(out.begin(), out.end());
}

}  // namespace weft::tokenizers
