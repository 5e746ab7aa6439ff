#pragma once

#include "tokenizers/components.hpp"
#include "tokenizers/regex.hpp"

namespace weft::tokenizers {

/// What becomes of the matches of a Split.
enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

/// "Removed" and so on; Error where there is no such behavior.
Behavior read_behavior(const std::string& name, const Where& where);

/// A part of a text that is a match of a pattern or lies between two.
struct Part {
  size_t begin = 0, end = 0;
  bool match = false;
};

class Pattern {
 public:
  virtual ~Pattern() = default;
  /// Appends the parts of `text`, which together are all of it.
  virtual void parts(std::string_view text, std::vector<Part>& out) const = 0;
};

/// Single characters.
class CharacterPattern final : public Pattern {
 public:
  explicit CharacterPattern(bool (*matches)(char32_t)) : matches_(matches) {}
  void parts(std::string_view text, std::vector<Part>& out) const override;

 private:
  bool (*matches_)(char32_t);
};

/// A string.
class StringPattern final : public Pattern {
 public:
  explicit StringPattern(std::string text) : text_(std::move(text)) {}
  void parts(std::string_view text, std::vector<Part>& out) const override;

 private:
  std::string text_;
};

class RegexPattern final : public Pattern {
 public:
  explicit RegexPattern(Regex regex) : regex_(std::move(regex)) {}
  void parts(std::string_view text, std::vector<Part>& out) const override;

 private:
  Regex regex_;
};

/// \w+|[^\w\s]+ of the pre-tokenizer Whitespace.
class WordPattern final : public Pattern {
 public:
  void parts(std::string_view text, std::vector<Part>& out) const override;
};

class Split final : public PreTokenizer {
 public:
  Split(std::unique_ptr<Pattern> pattern, Behavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
  void split(Text& text, std::vector<Piece>& pieces) const override;

 private:
  std::unique_ptr<Pattern> pattern_;
  Behavior behavior_;
  bool invert_;
};

/// Appends the pieces that `parts` become.
void join_parts(const std::vector<Part>& parts, Behavior behavior, std::vector<Piece>& out);

}  // namespace weft::tokenizers
