#include "tokenizers/html.hpp"

#include <algorithm>
#include <charconv>
#include <unordered_map>

#include <utf8proc.h>

namespace weft::tokenizers {
namespace {

using Names = std::unordered_map<std::string, std::u32string>;

bool is_digit(char32_t c) { return c >= '0' && c <= '9'; }
bool is_letter_or_digit(char32_t c) {
  return is_digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}
int hex_value(char32_t c) {
  if (is_digit(c)) return static_cast<int>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<int>(c - 'a') + 10;
  if (c >= 'A' && c <= 'F') return static_cast<int>(c - 'A') + 10;
  return -1;
}

// str.upper() of what the entities stand for.
std::u32string upper(const std::u32string& text) {
  std::u32string out;
  for (const auto c : text) {
    switch (c) {
      case 0xDF:
        out += U"SS";
        break;
      case 0x149:
        out += U"\u02BCN";
        break;
      case 0xFB00:
        out += U"FF";
        break;
      case 0xFB01:
        out += U"FI";
        break;
      case 0xFB02:
        out += U"FL";
        break;
      case 0xFB03:
        out += U"FFI";
        break;
      case 0xFB04:
        out += U"FFL";
        break;
      default:
        out += static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
    }
  }
  return out;
}

struct Entities {
  static constexpr size_t kLongestBare = 6;  // of the names that need no semicolon
  Names names;                               // with a semicolon
  Names bare;                                // those that may do without
  Names capitals;  // lower-case names in capitals, where those mean nothing else

  Entities() {
    for (auto rest = kHtmlEntities; !rest.empty();) {
      auto entry = rest.substr(0, rest.find(';'));
      rest.remove_prefix(entry.size() + 1);
      const auto space = entry.find(' ');
      std::string name(entry.substr(0, space));
      std::u32string value;
      for (entry.remove_prefix(space); !entry.empty();) {
        uint32_t code = 0;
        const auto [end, error] =
            std::from_chars(entry.data() + 1, entry.data() + entry.size(), code, 16);
        value += static_cast<char32_t>(code);
        entry.remove_prefix(end - entry.data());
      }
      if (name.back() == '?') {
        name.pop_back();
        bare.emplace(name, value);
      }
      names.emplace(name, value);
    }
    for (const auto& [name, value] : names) {
      if (std::ranges::any_of(name, [](char c) { return c >= 'A' && c <= 'Z'; })) continue;
      auto big = name;
      for (char& c : big)
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
      if (!names.contains(big) && bare_prefix(big) == 0) capitals.emplace(big, upper(value));
    }
  }

  // Length of the longest bare name that `name` begins with.
  size_t bare_prefix(const std::string& name) const {
    for (auto length = std::min(name.size(), kLongestBare); length > 1; --length)
      if (bare.contains(name.substr(0, length))) return length;
    return 0;
  }
};

const Entities& entities() {
  static const Entities instance;
  return instance;
}

// What a number stands for: numbers that HTML forbids are nothing, or what Windows-1252 has there.
std::u32string numbered(uint32_t code) {
  if (code >= 0x80 && code < 0xA0) return {windows_1252(code)};
  if (code == 0 || (code >= 0xD800 && code < 0xE000) || code > 0x10FFFF) return {0xFFFD};
  const bool white = code == '\t' || code == '\n' || code == '\f' || code == '\r';
  if ((code < 0x20 && !white) || code == 0x7F || (code >= 0xFDD0 && code <= 0xFDEF) ||
      (code & 0xFFFE) == 0xFFFE)
    return {};
  return {static_cast<char32_t>(code)};
}

struct Number {
  size_t end = 0;  // behind the digits; 0: there is no number
  uint32_t value = 0;
};

// The number of "&#12" or "&#xC" at chars[at], an ampersand.
Number read_number(const Chars& chars, size_t at) {
  const auto code = [&](size_t i) { return i < chars.size() ? chars[i].code : 0; };
  if (code(at + 1) != '#') return {};
  const bool hex = code(at + 2) == 'x' || code(at + 2) == 'X';
  const auto begin = at + 2 + hex;
  Number out{begin, 0};
  for (; hex ? hex_value(code(out.end)) >= 0 : is_digit(code(out.end)); ++out.end)
    out.value =
        std::min<uint32_t>(out.value * (hex ? 16 : 10) + hex_value(code(out.end)), 0x110000);
  return out.end > begin ? out : Number{};
}

void append(const std::u32string& text, const Chars& chars, size_t begin, size_t end, Chars& out) {
  for (const auto c : text) out.push_back({c, {chars[begin].from.begin, chars[end - 1].from.end}});
}

// Reads the named reference behind the ampersand at chars[at]; returns where it ends, or `at`.
size_t read_name(const Chars& chars, size_t at, Chars& out) {
  const auto& known = entities();
  std::string name;
  auto end = at + 1;
  for (; end < chars.size() && end < at + 33; ++end) {
    const auto c = chars[end].code;
    if (c == '\t' || c == '\n' || c == '\f' || c == ' ' || c == '<' || c == '&' || c == '#' ||
        c == ';')
      break;
    // No name has another character; what follows one is of no use.
    name += c < 0x80 ? static_cast<char>(c) : '\x7F';
  }
  if (name.empty()) return at;
  if (end < chars.size() && chars[end].code == ';') {
    if (const auto found = known.names.find(name); found != known.names.end()) {
      append(found->second, chars, at, end + 1, out);
      return end + 1;
    }
  }
  const auto length = known.bare_prefix(name);
  if (length == 0) return at;
  append(known.bare.at(name.substr(0, length)), chars, at, at + 1 + length, out);
  return at + 1 + length;
}

bool has_ampersand(const Chars& chars) {
  return std::ranges::any_of(chars, [](const Char& c) { return c.code == '&'; });
}

}  // namespace

char32_t windows_1252(char32_t c) {
  static constexpr char32_t kWindows[32] = {
      0x20AC, 0x81,   0x201A, 0x192,  0x201E, 0x2026, 0x2020, 0x2021, 0x2C6,  0x2030, 0x160,
      0x2039, 0x152,  0x8D,   0x17D,  0x8F,   0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
      0x2013, 0x2014, 0x2DC,  0x2122, 0x161,  0x203A, 0x153,  0x9D,   0x17E,  0x178};
  return c >= 0x80 && c < 0xA0 ? kWindows[c - 0x80] : c;
}

void unescape_html(Chars& chars) {
  if (!has_ampersand(chars)) return;
  Chars out;
  out.reserve(chars.size());
  for (size_t at = 0; at < chars.size();) {
    if (chars[at].code == '&') {
      if (const auto number = read_number(chars, at); number.end > 0) {
        const auto semicolon = number.end < chars.size() && chars[number.end].code == ';';
        append(numbered(number.value), chars, at, number.end + semicolon, out);
        at = number.end + semicolon;
        continue;
      }
      if (const auto end = read_name(chars, at, out); end > at) {
        at = end;
        continue;
      }
    }
    out.push_back(chars[at++]);
  }
  chars = std::move(out);
}

void unescape_html_strictly(Chars& chars) {
  if (!has_ampersand(chars)) return;
  constexpr size_t kLongest = 24;
  const auto& known = entities();
  Chars out;
  out.reserve(chars.size());
  std::string name;
  for (size_t at = 0; at < chars.size();) {
    if (chars[at].code == '&') {
      const auto begin = at + 1 + (at + 1 < chars.size() && chars[at + 1].code == '#');
      auto end = begin;
      name.clear();
      for (; end < chars.size() && is_letter_or_digit(chars[end].code); ++end)
        name += static_cast<char>(chars[end].code);
      const bool whole =
          !name.empty() && name.size() <= kLongest && end < chars.size() && chars[end].code == ';';
      if (whole && begin == at + 2) {
        // The semicolon must be part of the number, and not what it stands for.
        const auto number = read_number(chars, at);
        if (number.end == end && number.value != ';') {
          append(numbered(number.value), chars, at, end + 1, out);
          at = end + 1;
          continue;
        }
      } else if (whole) {
        const auto& table = known.names.contains(name) ? known.names : known.capitals;
        if (const auto found = table.find(name); found != table.end()) {
          append(found->second, chars, at, end + 1, out);
          at = end + 1;
          continue;
        }
      }
    }
    out.push_back(chars[at++]);
  }
  chars = std::move(out);
}

}  // namespace weft::tokenizers
