#include "tokenizers/cleaning.hpp"

#include <algorithm>
#include <array>

#include <utf8proc.h>

#include "tokenizers/html.hpp"
#include "tokenizers/normal_forms.hpp"
#include "tokenizers/python_unicode.hpp"

namespace weft::tokenizers {
namespace {

std::u32string_view ligature(char32_t c) {
  switch (c) {
    case 0x132:
      return U"IJ";
    case 0x133:
      return U"ij";
    case 0x149:
      return U"\u02BCn";
    case 0x1F1:
      return U"DZ";
    case 0x1F2:
      return U"Dz";
    case 0x1F3:
      return U"dz";
    case 0x1C4:
      return U"D\u017D";
    case 0x1C5:
      return U"D\u017E";
    case 0x1C6:
      return U"d\u017E";
    case 0x1C7:
      return U"LJ";
    case 0x1C8:
      return U"Lj";
    case 0x1C9:
      return U"lj";
    case 0x1CA:
      return U"NJ";
    case 0x1CB:
      return U"Nj";
    case 0x1CC:
      return U"nj";
    case 0xFB00:
      return U"ff";
    case 0xFB01:
      return U"fi";
    case 0xFB02:
      return U"fl";
    case 0xFB03:
      return U"ffi";
    case 0xFB04:
      return U"ffl";
    case 0xFB05:
      return U"\u017Ft";
    case 0xFB06:
      return U"st";
    default:
      return {};
  }
}

// Half-width and full-width forms, in the width that is usual.
const std::u32string& usual_width(char32_t c) {
  constexpr char32_t kFirst = 0xFF01, kLast = 0xFFEF;
  static const auto table = [] {
    std::array<std::u32string, kLast - kFirst + 1> out;
    for (auto code = kFirst; code <= kLast; ++code) {
      const utf8proc_uint8_t text[3] = {static_cast<utf8proc_uint8_t>(0xE0 | code >> 12),
                                        static_cast<utf8proc_uint8_t>(0x80 | (code >> 6 & 0x3F)),
                                        static_cast<utf8proc_uint8_t>(0x80 | (code & 0x3F))};
      utf8proc_int32_t parts[8];
      const auto length = utf8proc_decompose(
          text, 3, parts, 8,
          static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE));
      for (utf8proc_ssize_t i = 0; i < length; ++i) out[code - kFirst] += parts[i];
    }
    return out;
  }();
  static const std::u32string space = U" ", none;
  return c == 0x3000 ? space : c >= kFirst && c <= kLast ? table[c - kFirst] : none;
}

char32_t straight_quote(char32_t c) {
  if (c >= 0x201C && c <= 0x201F) return '"';
  return c == 0x2BC || (c >= 0x2018 && c <= 0x201B) ? U'\'' : c;
}

bool is_removed_control(char32_t c) {
  return c <= 8 || c == 0xB || (c >= 0xE && c < 0x20) || c == 0x7F ||
         (c >= 0x206A && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFC);
}

// Windows-1252 for C1 controls, ligatures, widths, quotes, line breaks: one character at a time.
void replace_characters(const Chars& chars, Chars& out) {
  out.clear();
  const auto take = [&](char32_t c, const Offset& from) {
    c = straight_quote(c);
    if (c == '\r' || c == 0x2028 || c == 0x2029) c = '\n';
    out.push_back({c, from});
  };
  for (size_t at = 0; at < chars.size(); ++at) {
    auto [c, from] = chars[at];
    if (c == '\r' && at + 1 < chars.size() && chars[at + 1].code == '\n') continue;
    if (c < 0x80) {
      take(c, from);
      continue;
    }
    c = windows_1252(c);
    if (const auto parts = ligature(c); !parts.empty()) {
      for (const auto part : parts) take(part, from);
    } else if (const auto& usual = usual_width(c); !usual.empty()) {
      for (const auto part : usual) take(part, from);
    } else {
      take(c, from);
    }
  }
}

// ESC [ 1 ; 31 m and the like, then the controls that show nothing.
void remove_controls(Chars& chars) {
  size_t kept = 0;
  for (size_t at = 0; at < chars.size(); ++at) {
    const auto c = chars[at].code;
    if (c == 0x1B && at + 1 < chars.size() && chars[at + 1].code == '[') {
      auto end = at + 2;
      while (end < chars.size() && (chars[end].code == ';' || is_python_digit(chars[end].code)))
        ++end;
      const auto last = end < chars.size() ? chars[end].code | 0x20 : 0;
      if (last >= 'a' && last <= 'z') {
        at = end;
        continue;
      }
    }
    if (!is_removed_control(c)) chars[kept++] = chars[at];
  }
  chars.resize(kept);
}

bool same(const Chars& a, const Chars& b) {
  return std::ranges::equal(a, b, {}, &Char::code, &Char::code);
}

// ftfy's fixes of one line, again and again until nothing changes.
void fix_line(Chars& line, bool unescape) {
  Chars before, fixed;
  do {
    before = line;
    if (unescape) unescape_html_strictly(line);
    replace_characters(line, fixed);
    remove_controls(fixed);
    normalize(fixed, Form::nfc, UnicodeData::python);
    std::swap(line, fixed);
  } while (!same(line, before));
}

// A line with a '<' may be HTML: from there on entities stay as they are.
void fix_text(Chars& chars) {
  constexpr size_t kLongestLine = 1'000'000;
  Chars out, line;
  bool unescape = true;
  for (size_t begin = 0; begin < chars.size();) {
    auto end = begin;
    while (end < chars.size() && end - begin < kLongestLine && chars[end].code != '\n') ++end;
    if (end < chars.size() && end - begin < kLongestLine) ++end;
    line.assign(chars.begin() + begin, chars.begin() + end);
    unescape = unescape && std::ranges::find(line, U'<', &Char::code) == line.end();
    fix_line(line, unescape);
    out.insert(out.end(), line.begin(), line.end());
    begin = end;
  }
  chars = std::move(out);
}

// What the cleaning of ASCII without references is: one space between words, lower case. False
// where the text needs more.
bool clean_ascii(Text& text) {
  static constexpr auto kPlain = [] {
    std::array<bool, 256> plain{};
    for (int c = ' '; c < 0x7F; ++c) plain[c] = c != '&';
    for (const char c : {'\t', '\n', '\f', '\r'}) plain[static_cast<uint8_t>(c)] = true;
    return plain;
  }();
  bool plain = true;
  for (const char c : text.bytes) plain &= kPlain[static_cast<uint8_t>(c)];
  if (!plain) return false;
  size_t kept = 0;
  bool gap = false;
  for (size_t at = 0; at < text.bytes.size(); ++at) {
    auto c = text.bytes[at];
    const bool space = c <= ' ';
    if (space && (gap || kept == 0)) continue;
    gap = space;
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    text.bytes[kept] = space ? ' ' : c;
    if (text.tracked) text.source[kept] = text.source[at];
    ++kept;
  }
  kept -= gap;
  text.bytes.resize(kept);
  if (text.tracked) text.source.resize(kept);
  return true;
}

}  // namespace

void OpenClipCleaning::apply(Text& text) const {
  if (clean_ascii(text)) return;
  Chars chars;
  read_chars(text, chars);
  fix_text(chars);
  unescape_html(chars);
  unescape_html(chars);
  python_join_words(chars);
  python_lower(chars);
  write_chars(chars, text);
}

std::string join_surrogates(std::string_view text) {
  // ED A0..BF xx is what UTF-8 would make of U+D800..U+DFFF.
  const auto surrogate = [&](size_t at) -> char32_t {
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[at + i]); };
    if (at + 3 > text.size() || byte(0) != 0xED || byte(1) < 0xA0 || byte(1) > 0xBF ||
        (byte(2) & 0xC0) != 0x80)
      return 0;
    return 0xD000 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
  };
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const auto first = surrogate(at);
    if (first == 0) {
      out += text[at++];
      continue;
    }
    at += 3;
    const auto second = first < 0xDC00 ? surrogate(at) : 0;
    if (second >= 0xDC00) {
      append_utf8(0x10000 + (first - 0xD800) * 0x400 + (second - 0xDC00), out);
      at += 3;
    } else {
      append_utf8(0xFFFD, out);
    }
  }
  return out;
}

}  // namespace weft::tokenizers
