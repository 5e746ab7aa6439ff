#include "core/fail.hpp"
#include "tokenizers/jinja/lexer.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers::jinja {
namespace {

/// Where the string stands.
struct Place {
  const std::string& name;
  int line;
  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    weft::fail("chat template '{}', line {}: {}", name, line,
               fmt::format(format, std::forward<Args>(args)...));
  }
};

char32_t number_at(std::string_view text, size_t& at, size_t count, const Place& place) {
  char32_t code = 0;
  for (size_t i = 0; i < count; ++i, ++at) {
    if (at >= text.size() || digit_value(text[at]) > 15)
      place.fail("an escape in a string needs {} hexadecimal digits", count);
    code = code * 16 + static_cast<char32_t>(digit_value(text[at]));
  }
  return code;
}

void append_code(char32_t code, std::string& out, const Place& place) {
  if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
    place.fail("the escape \\u{:04x} in a string is no character", static_cast<uint32_t>(code));
  append_utf8(code, out);
}

}  // namespace

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : 16;
}

std::string unescape(std::string_view text, const std::string& name, int line) {
  const Place place{name, line};
  std::string out;
  for (size_t at = 0; at < text.size();) {
    if (text[at] != '\\') {
      out += text[at++];
      continue;
    }
    const char c = text[at + 1];
    if (static_cast<uint8_t>(c) >= 0x80) {
      size_t next = at + 1;
      const auto code = static_cast<uint32_t>(next_code_point(text, next));
      out += code < 0x100     ? fmt::format("\\x{:02x}", code)
             : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                              : fmt::format("\\U{:08x}", code);
      at = next;
      continue;
    }
    at += 2;
    constexpr std::string_view kNames = "abfnrtv\\'\"", kCodes = "\a\b\f\n\r\t\v\\'\"";
    if (const auto known = kNames.find(c); known != std::string_view::npos) {
      out += kCodes[known];
    } else if (c == '\n') {
      continue;
    } else if (c == 'x' || c == 'u' || c == 'U') {
      append_code(number_at(text, at, c == 'x' ? 2 : c == 'u' ? 4 : 8, place), out, place);
    } else if (c >= '0' && c <= '7') {
      char32_t code = static_cast<char32_t>(c - '0');
      for (int i = 0; i < 2 && at < text.size() && text[at] >= '0' && text[at] <= '7'; ++i)
        code = code * 8 + static_cast<char32_t>(text[at++] - '0');
      append_code(code, out, place);
    } else if (c == 'N') {
      place.fail(
          "names of characters (\\N) are not supported in strings; write \\u and the number");
    } else {
      out += '\\';
      out += c;
    }
  }
  return out;
}

}  // namespace weft::tokenizers::jinja
