#include "tokenizers/bert.hpp"

#include <algorithm>
#include <array>

#include "tokenizers/normal_forms.hpp"

namespace weft::tokenizers {
namespace {

enum AsciiKind : uint8_t { kWord, kSpace, kPunctuation, kControl };
constexpr auto kAsciiKinds = [] {
  std::array<uint8_t, 128> kinds{};
  for (int c = 0; c < 128; ++c) {
    kinds[c] = (c >= 9 && c <= 13) || c == ' ' ? kSpace
               : c < 32 || c == 127            ? kControl
               : (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')
                   ? kWord
                   : kPunctuation;
  }
  return kinds;
}();
constexpr auto kAsciiLower = [] {
  std::array<char, 128> lower{};
  for (int c = 0; c < 128; ++c) lower[c] = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return lower;
}();

void normalize_ascii(Text& text, const BertNormalizerOptions& options) {
  size_t kept = 0;
  for (size_t at = 0; at < text.bytes.size(); ++at) {
    char c = text.bytes[at];
    if (options.clean_text) {
      if (c == '\t' || c == '\n' || c == '\r') {
        c = ' ';
      } else if (static_cast<uint8_t>(c) < 32 || c == 127) {
        continue;
      }
    }
    text.bytes[kept] = options.lowercase ? kAsciiLower[static_cast<uint8_t>(c)] : c;
    if (text.tracked) text.source[kept] = text.source[at];
    ++kept;
  }
  text.bytes.resize(kept);
  if (text.tracked) text.source.resize(kept);
}

}  // namespace

void BertNormalizer::apply(Text& text) const {
  if (is_ascii(text.bytes)) return normalize_ascii(text, options_);

  Chars chars;
  chars.reserve(text.bytes.size());
  for (size_t at = 0; at < text.bytes.size();) {
    const auto from = text.tracked ? text.source[at] : Offset{};
    auto c = next_code_point(text.bytes, at);
    if (options_.clean_text) {
      if (c == 0xFFFD || is_bert_control(c)) continue;
      if (is_white_space(c)) c = ' ';
    }
    if (options_.handle_chinese_chars && is_bert_ideograph(c)) {
      chars.insert(chars.end(), {{' ', from}, {c, from}, {' ', from}});
    } else {
      chars.push_back({c, from});
    }
  }
  if (options_.strip_accents) {
    normalize(chars, Form::nfd, UnicodeData::hugging_face);
    std::erase_if(chars, [](const Char& c) { return is_nonspacing_mark(c.code); });
  }
  text.clear();
  for (const auto& c : chars) {
    char32_t lower[2] = {c.code, 0};
    const auto length = options_.lowercase ? lowercase(c.code, lower) : 1;
    for (size_t i = 0; i < length; ++i) text.append(lower[i], c.from);
  }
}

void BertPreTokenizer::split(Text& text, std::vector<Piece>& pieces) const {
  static thread_local std::vector<Piece> out;
  out.clear();
  for (const auto& piece : pieces) {
    auto begin = piece.begin;
    const auto close = [&](size_t end) {
      if (begin < end) out.push_back({begin, end});
    };
    for (size_t at = piece.begin; at < piece.end;) {
      const auto start = at;
      const auto byte = static_cast<uint8_t>(text.bytes[at]);
      uint8_t kind = kWord;
      if (byte < 0x80) {
        kind = kAsciiKinds[byte];
        ++at;
      } else {
        const auto c = next_code_point(text.bytes, at);
        if (is_white_space(c)) {
          kind = kSpace;
        } else if (is_bert_punctuation(c)) {
          kind = kPunctuation;
        }
      }
      if (kind == kWord || kind == kControl) continue;
      close(start);
      if (kind == kPunctuation) out.push_back({start, at});
      begin = at;
    }
    close(piece.end);
  }
  pieces.assign(out.begin(), out.end());
}

}  // namespace weft::tokenizers
