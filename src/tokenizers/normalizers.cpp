#include "tokenizers/normalizers.hpp"

#include "tokenizers/nfc.hpp"

namespace weft::tokenizers {

void NfcNormalizer::apply(Text& text) const {
  if (is_ascii(text.bytes)) return;
  static thread_local Chars chars;
  read_chars(text, chars);
  compose(chars, UnicodeData::hugging_face);
  write_chars(chars, text);
}

void WhiteSpaceNormalizer::apply(Text& text) const {
  const auto& bytes = text.bytes;
  size_t kept = 0;
  bool in_space = false;
  for (size_t at = 0; at < bytes.size();) {
    const auto begin = at;
    if (is_white_space(next_code_point(bytes, at))) {
      // The space is counted at the last of what it stands for.
      kept -= in_space;
      text.bytes[kept] = ' ';
      if (text.tracked) text.source[kept] = text.source[begin];
      ++kept;
      in_space = true;
      continue;
    }
    in_space = false;
    for (auto from = begin; from < at; ++from, ++kept) {
      text.bytes[kept] = bytes[from];
      if (text.tracked) text.source[kept] = text.source[from];
    }
  }
  text.bytes.resize(kept);
  if (text.tracked) text.source.resize(kept);
}

void LowercaseNormalizer::apply(Text& text) const {
  if (is_ascii(text.bytes)) {
    for (char& c : text.bytes)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    return;
  }
  static thread_local Chars chars;
  read_chars(text, chars);
  text.clear();
  for (const auto& c : chars) {
    char32_t lower[2];
    const auto length = lowercase(c.code, lower);
    for (size_t i = 0; i < length; ++i) text.append(lower[i], c.from);
  }
}

}  // namespace weft::tokenizers
