#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tokenizers/components.hpp"

namespace weft::tokenizers {

/// A regular expression of a tokenizer.json, run by PCRE2 over UTF-8 with Unicode's classes. Lines
/// and white space are those of Oniguruma, which Hugging Face uses: ^ and $ match at every line,
/// and \s is White_Space.
class Regex {
 public:
  /// Error where the pattern is not valid.
  Regex(std::string_view pattern, const Where& where);
  ~Regex();
  Regex(Regex&&) noexcept;

  /// Calls take(begin, end) for each match, as regular expression libraries iterate: an empty match
  /// does not follow a match directly. Error where a match takes too many steps.
  template <class Take>
  void each_match(std::string_view text, Take&& take) const {
    size_t at = 0, last = std::string_view::npos;
    for (Piece found; at <= text.size() && find(text, at, found);) {
      if (found.begin == found.end && found.end == last) {
        ++at;
        while (at < text.size() && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) ++at;
        continue;
      }
      at = last = found.end;
      take(found.begin, found.end);
    }
  }

 private:
  bool find(std::string_view text, size_t from, Piece& match) const;

  struct Code;
  std::unique_ptr<Code> code_;
};

/// The pattern that matches `text` itself.
std::string escape_regex(std::string_view text);

}  // namespace weft::tokenizers
