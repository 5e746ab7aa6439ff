#include "tokenizers/word_split.hpp"

#include <array>
#include <limits>

#include "tokenizers/char_kinds.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {
namespace {

constexpr uint8_t kWordOrNumber = kAnyLetter | kNumeral;
constexpr uint8_t kUpperPart = kUpper | kCaseless | kMark, kLowerPart = kLower | kCaseless | kMark;

constexpr auto kAscii = [] {
  std::array<uint8_t, 128> kinds{};
  for (int c = 0; c < 128; ++c) {
    kinds[c] = c >= 'A' && c <= 'Z'              ? kUpper
               : c >= 'a' && c <= 'z'            ? kLower
               : c >= '0' && c <= '9'            ? kNumeral
               : c == '\n' || c == '\r'          ? kBlank | kLineBreak
               : (c >= 9 && c <= 13) || c == ' ' ? kBlank
                                                 : 0;
  }
  return kinds;
}();

// Kinds of the character at text[at]; `at` moves behind it.
uint8_t next_kinds(std::string_view text, size_t& at) {
  const auto byte = static_cast<uint8_t>(text[at]);
  return byte < 0x80 ? ++at, kAscii[byte] : char_kinds(next_code_point(text, at));
}

// Where the run of characters of one of `kinds` ends.
size_t run_end(std::string_view text, size_t at, uint8_t kinds) {
  while (at < text.size()) {
    auto after = at;
    if (!(next_kinds(text, after) & kinds)) break;
    at = after;
  }
  return at;
}

size_t line_breaks_end(std::string_view text, size_t at, bool slashes) {
  while (at < text.size() && (text[at] == '\n' || text[at] == '\r' || (slashes && text[at] == '/')))
    ++at;
  return at;
}

// Where the contraction at text[at] ends; `at` where there is none.
size_t contraction_end(std::string_view text, size_t at) {
  if (at + 1 >= text.size() || text[at] != '\'') return at;
  const auto letter = [&](size_t i) {
    return i < text.size() ? static_cast<char>(text[i] | 0x20) : '\0';
  };
  switch (letter(at + 1)) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return at + 2;
    case 'r':
    case 'v':
      return letter(at + 2) == 'e' ? at + 3 : at;
    case 'l':
      return letter(at + 2) == 'l' ? at + 3 : at;
    default:  // the long s is an s in any case
      return text.substr(at + 1).starts_with("\xC5\xBF") ? at + 3 : at;
  }
}

// U*L+ from text[at]; 0 where it does not match.
size_t lower_word(std::string_view text, size_t at) {
  size_t last = 0;  // behind the last character that may end the word
  while (at < text.size()) {
    auto after = at;
    const auto kinds = next_kinds(text, after);
    if (!(kinds & kUpperPart)) {
      return kinds & kLowerPart ? run_end(text, after, kLowerPart) : last;
    }
    if (kinds & kLowerPart) last = after;
    at = after;
  }
  return last;
}

// U+L*; 0 where it does not match.
size_t upper_word(std::string_view text, size_t at) {
  const auto end = run_end(text, at, kUpperPart);
  return end == at ? 0 : run_end(text, end, kLowerPart);
}

// The word of o200k at text[at], whose first character has `kinds` and ends at `next`; 0: none.
size_t cased_word(std::string_view text, size_t at, size_t next, uint8_t kinds) {
  const bool prefix = !(kinds & (kLineBreak | kWordOrNumber));
  for (const auto word : {lower_word, upper_word}) {
    if (const auto end = prefix ? word(text, next) : 0) return end;
    if (const auto end = word(text, at)) return end;
  }
  return 0;
}

size_t plain_word(std::string_view text, size_t next, uint8_t kinds) {
  if (kinds & kAnyLetter) return run_end(text, next, kAnyLetter);
  if (kinds & (kLineBreak | kNumeral)) return 0;
  const auto end = run_end(text, next, kAnyLetter);
  return end == next ? 0 : end;
}

// White space at text[at].
size_t blank_end(std::string_view text, size_t at, bool whole_tail) {
  size_t last = at, break_end = 0, end = at;
  while (end < text.size()) {
    auto after = end;
    const auto kinds = next_kinds(text, after);
    if (!(kinds & kBlank)) break;
    if (kinds & kLineBreak) break_end = after;
    last = end;
    end = after;
  }
  if (whole_tail && end == text.size()) return end;
  if (break_end) return break_end;
  // White space before a word leaves its last character to it.
  return end < text.size() && last > at ? last : end;
}

size_t match_end(std::string_view text, size_t at, const WordSplitOptions& options) {
  auto next = at;
  const auto kinds = next_kinds(text, next);
  if (options.contractions && !options.cased && text[at] == '\'') {
    if (const auto end = contraction_end(text, at); end > at) return end;
  }
  if (options.cased) {
    if (const auto end = cased_word(text, at, next, kinds))
      return options.contractions ? contraction_end(text, end) : end;
  } else if (const auto end = plain_word(text, next, kinds)) {
    return end;
  }
  if (kinds & kNumeral) {
    for (int i = 1; i < options.digits && next < text.size(); ++i) {
      auto after = next;
      if (!(next_kinds(text, after) & kNumeral)) break;
      next = after;
    }
    return next;
  }
  auto end = text[at] == ' ' ? next : at;
  const auto begin = end;
  while (end < text.size()) {
    auto after = end;
    if (next_kinds(text, after) & (kBlank | kWordOrNumber)) break;
    end = after;
  }
  if (end > begin) return line_breaks_end(text, end, options.cased);
  return blank_end(text, at, options.whole_tail);
}

}  // namespace

void WordSplit::split(Text& text, std::vector<Piece>& pieces) const {
  static thread_local std::vector<Piece> out;
  out.clear();
  for (const auto& piece : pieces) {
    const auto part = std::string_view(text.bytes).substr(0, piece.end);
    for (auto at = piece.begin; at < piece.end;) {
      const auto end = match_end(part, at, options_);
      out.push_back({at, end});
      at = end;
    }
  }
  pieces.assign(out.begin(), out.end());
}

#define WEFT_ANY_CASE "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WEFT_WORD R"([^\r\n\p{L}\p{N}]?\p{L}+)"
#define WEFT_BLANKS R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"
#define WEFT_CASED(ending)                                                                 \
  R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)" ending \
  R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)" ending

const char* const kLlama3Pattern =
    WEFT_ANY_CASE "|" WEFT_WORD R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)" WEFT_BLANKS;
const char* const kQwen2Pattern =
    WEFT_ANY_CASE "|" WEFT_WORD R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)" WEFT_BLANKS;
const char* const kCl100kPattern =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+)"
    R"(|\s++$|\s*[\r\n]|\s+(?!\S)|\s)";
// In tiktoken's own text {1,3}+ takes at most three numbers and gives none back. To Oniguruma it is
// {1,3}, any number of times.
static const char* const kTiktokenCl100kPattern =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+)"
    R"(|\s++$|\s*[\r\n]|\s+(?!\S)|\s)";
const char* const kO200kPattern =
    WEFT_CASED(WEFT_ANY_CASE "?") R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" WEFT_BLANKS;
static const char* const kTekkenPattern =
    WEFT_CASED("") R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" WEFT_BLANKS;

std::optional<WordSplitOptions> known_word_pattern(std::string_view pattern) {
  if (pattern == kLlama3Pattern) return WordSplitOptions{.digits = 3};
  if (pattern == kQwen2Pattern) return WordSplitOptions{.digits = 1};
  if (pattern == kCl100kPattern) return WordSplitOptions{.digits = 3, .whole_tail = true};
  if (pattern == kTiktokenCl100kPattern)
    return WordSplitOptions{.digits = std::numeric_limits<int>::max(), .whole_tail = true};
  if (pattern == kO200kPattern) return WordSplitOptions{.digits = 3, .cased = true};
  if (pattern == kTekkenPattern)
    return WordSplitOptions{.digits = 1, .cased = true, .contractions = false};
  return {};
}

}  // namespace weft::tokenizers
