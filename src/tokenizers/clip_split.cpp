#include "tokenizers/clip_split.hpp"

#include <array>

#include "tokenizers/python_unicode.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {
namespace {

enum Kind : uint8_t { kLetter, kNumber, kSpace, kOther };

constexpr auto kAsciiKinds = [] {
  std::array<Kind, 128> kinds{};
  for (int c = 0; c < 128; ++c) {
    kinds[c] = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ? kLetter
               : c >= '0' && c <= '9'                           ? kNumber
               : (c >= 9 && c <= 13) || c == ' '                ? kSpace
                                                                : kOther;
  }
  return kinds;
}();

template <bool open_clip>
Kind next_kind(std::string_view text, size_t& at) {
  const auto byte = static_cast<uint8_t>(text[at]);
  if (byte < 0x80) return ++at, kAsciiKinds[byte];
  const auto c = next_code_point(text, at);
  if constexpr (open_clip) {
    // In any case, U+0345 is an iota to the one class of the pattern and none to the other.
    if (c == 0x345) return kSpace;
    return is_regex_letter(c)   ? kLetter
           : is_regex_number(c) ? kNumber
           : is_white_space(c)  ? kSpace
                                : kOther;
  } else {
    return is_letter(c) ? kLetter : is_number(c) ? kNumber : is_white_space(c) ? kSpace : kOther;
  }
}

// End of the run of `kind` that goes on at text[at].
template <bool open_clip>
size_t run_end(std::string_view text, size_t at, Kind kind) {
  while (at < text.size()) {
    auto after = at;
    if (next_kind<open_clip>(text, after) != kind) break;
    at = after;
  }
  return at;
}

constexpr std::string_view kLongS = "\xC5\xBF";  // an s to whoever reads any case

}  // namespace

// Length of what reads as `lower` at the start of `rest`, or 0.
size_t ClipSplit::same(std::string_view rest, std::string_view lower) const {
  size_t at = 0;
  for (const char c : lower) {
    if (at < rest.size() && rest[at] == c) {
      ++at;
    } else if (options_.open_clip && c == 's' && rest.substr(at).starts_with(kLongS)) {
      at += kLongS.size();
    } else {
      return 0;
    }
  }
  return at;
}

size_t ClipSplit::special(std::string_view rest) const {
  for (const auto& special : options_.specials)
    if (const auto length = same(rest, special)) return length;
  return 0;
}

size_t ClipSplit::contraction(std::string_view rest) const {
  for (const std::string_view ending : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"})
    if (const auto length = same(rest, ending)) return length;
  return 0;
}

void ClipSplit::split(Text& text, std::vector<Piece>& pieces) const {
  static thread_local std::vector<Piece> out;
  out.clear();
  const auto next = options_.open_clip ? next_kind<true> : next_kind<false>;
  const auto run = options_.open_clip ? run_end<true> : run_end<false>;
  for (const auto& piece : pieces) {
    const auto part = std::string_view(text.bytes).substr(0, piece.end);
    for (auto at = piece.begin; at < piece.end;) {
      const auto begin = at;
      const auto kind = next(part, at);
      if (kind == kSpace) continue;
      if (kind == kLetter) {
        at = run(part, at, kLetter);
      } else if (kind == kOther) {
        if (part[begin] == '<') {
          if (const auto length = special(part.substr(begin))) {
            at = begin + length;
            if (options_.split_specials) {  // <| name |>
              out.push_back({begin, begin + 2});
              out.push_back({begin + 2, at - 2});
              out.push_back({at - 2, at});
            } else {
              out.push_back({begin, at});
            }
            continue;
          }
        }
        const auto length = part[begin] == '\'' ? contraction(part.substr(begin)) : 0;
        at = length ? begin + length : run(part, at, kOther);
      }
      out.push_back({begin, at});
    }
  }
  pieces.assign(out.begin(), out.end());
}

const char* const kClipPattern =
    R"(<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)";

std::optional<std::vector<std::string>> clip_specials(std::string_view pattern) {
  const std::string_view whole = kClipPattern;
  if (pattern == whole) return std::vector<std::string>{"<|startoftext|>", "<|endoftext|>"};
  if (pattern == whole.substr(whole.find('\''))) return std::vector<std::string>{};
  return {};
}

}  // namespace weft::tokenizers
