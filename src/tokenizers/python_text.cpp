#include "tokenizers/python_text.hpp"

#include "tokenizers/python_unicode.hpp"

namespace weft::tokenizers {
namespace {

Chars chars_of(std::string_view text) {
  Text valid;
  append_lossy(text, valid.bytes);
  valid.tracked = false;
  Chars out;
  read_chars(valid, out);
  return out;
}

std::string utf8_of(Chars::const_iterator begin, Chars::const_iterator end) {
  std::string out;
  for (; begin != end; ++begin) append_utf8(begin->code, out);
  return out;
}

}  // namespace

std::string python_lower(std::string_view text) {
  auto chars = chars_of(text);
  python_lower(chars);
  return utf8_of(chars.begin(), chars.end());
}

std::vector<std::string> python_split(std::string_view text) {
  const auto chars = chars_of(text);
  std::vector<std::string> out;
  bool inside = false;
  for (const auto& c : chars) {
    const bool space = is_python_space(c.code);
    if (!space && !inside) out.emplace_back();
    if (!space) append_utf8(c.code, out.back());
    inside = !space;
  }
  return out;
}

std::string python_strip(std::string_view text) {
  const auto chars = chars_of(text);
  auto begin = chars.begin(), end = chars.end();
  while (begin != end && is_python_space(begin->code)) ++begin;
  while (begin != end && is_python_space((end - 1)->code)) --end;
  return utf8_of(begin, end);
}

}  // namespace weft::tokenizers
