#include "tokenizers/normalizers.hpp"

#include <algorithm>

#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {

void FormNormalizer::apply(Text& text) const {
  if (is_ascii(text.bytes)) return;
  static thread_local Chars chars;
  read_chars(text, chars);
  normalize(chars, form_, UnicodeData::hugging_face);
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

void StripAccentsNormalizer::apply(Text& text) const {
  if (is_ascii(text.bytes)) return;
  keep_chars(text, [](char32_t c) { return !is_mark(c); });
}

void StripNormalizer::apply(Text& text) const {
  size_t begin = 0, end = text.bytes.size();
  while (left_ && begin < end) {
    auto after = begin;
    if (!is_white_space(next_code_point(text.bytes, after))) break;
    begin = after;
  }
  while (right_ && end > begin) {
    if (!is_white_space(previous_code_point(text.bytes, end))) break;
    do --end;
    while ((static_cast<uint8_t>(text.bytes[end]) & 0xC0) == 0x80);
  }
  text.bytes = text.bytes.substr(begin, end - begin);
  if (!text.tracked) return;
  text.source.resize(end);
  text.source.erase(text.source.begin(), text.source.begin() + begin);
}

void NmtNormalizer::apply(Text& text) const {
  keep_chars(text, [](char32_t c) {
    return !((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
             c == 0x9F);
  });
  static thread_local Chars chars;
  read_chars(text, chars);
  for (auto& [c, from] : chars) {
    if ((c >= 9 && c <= 0xD) || c == 0x1680 || (c >= 0x200B && c <= 0x200F) || c == 0x2028 ||
        c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD)
      c = ' ';
  }
  write_chars(chars, text);
}

void PrependNormalizer::apply(Text& text) const {
  if (text.bytes.empty()) return;
  check_growth(text.bytes.size() + front_.size());
  text.bytes.insert(0, front_);
  if (text.tracked) text.source.insert(text.source.begin(), front_.size(), text.source[0]);
}

namespace {

// A text that is put together of parts of another and of replacements.
class Rewriting {
 public:
  explicit Rewriting(Text& text) : text_(text) {
    out_.tracked = text.tracked;
    out_.clear();
  }
  void replace(size_t begin, size_t end, std::string_view content) {
    out_.append(text_, done_, begin);
    check_growth(out_.bytes.size() + content.size());
    out_.append(content, end > 0 && text_.tracked ? text_.source[end - 1] : Offset{});
    done_ = end;
  }
  void finish() {
    if (done_ == 0 && out_.bytes.empty()) return;
    out_.append(text_, done_, text_.bytes.size());
    text_.swap(out_);
  }

 private:
  Text& text_;
  size_t done_ = 0;
  inline static thread_local Text out_;
};

}  // namespace

void ReplaceNormalizer::apply(Text& text) const {
  if (pattern_.empty()) return;
  Rewriting rewriting(text);
  for (size_t at = 0; (at = text.bytes.find(pattern_, at)) != std::string::npos;
       at += pattern_.size())
    rewriting.replace(at, at + pattern_.size(), content_);
  rewriting.finish();
}

void RegexNormalizer::apply(Text& text) const {
  Rewriting rewriting(text);
  pattern_.each_match(text.bytes,
                      [&](size_t begin, size_t end) { rewriting.replace(begin, end, content_); });
  rewriting.finish();
}

}  // namespace weft::tokenizers
