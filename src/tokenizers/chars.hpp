#pragma once

#include <vector>

#include "tokenizers/components.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {

/// A code point and the span of the input that it is counted at.
struct Char {
  char32_t code = 0;
  Offset from = {};
};
using Chars = std::vector<Char>;

inline void read_chars(const Text& text, Chars& out) {
  out.clear();
  out.reserve(text.bytes.size());
  for (size_t at = 0; at < text.bytes.size();) {
    const auto from = text.tracked ? text.source[at] : Offset{};
    out.push_back({next_code_point(text.bytes, at), from});
  }
}

inline void write_chars(const Chars& chars, Text& text) {
  text.clear();
  for (const auto& c : chars) text.append(c.code, c.from);
}

}  // namespace weft::tokenizers
