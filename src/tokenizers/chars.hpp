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

/// A character of a rewritten text and what it stands for, in the terms of Hugging Face's
/// NormalizedString: 0 = the next character of the old text, 1 = an added one, -n = the next one
/// and n behind it.
struct Change {
  char32_t code = 0;
  int64_t change = 0;
};

/// Rewrites `chars`. An added character is counted at the one before it in the old text.
void apply_changes(const std::vector<Change>& changes, Chars& chars);

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

/// Leaves the characters for which keep(code point) is true.
template <class Keep>
void keep_chars(Text& text, Keep&& keep) {
  size_t kept = 0;
  for (size_t at = 0; at < text.bytes.size();) {
    const auto begin = at;
    if (!keep(next_code_point(text.bytes, at))) continue;
    for (auto from = begin; from < at; ++from, ++kept) {
      text.bytes[kept] = text.bytes[from];
      if (text.tracked) text.source[kept] = text.source[from];
    }
  }
  text.bytes.resize(kept);
  if (text.tracked) text.source.resize(kept);
}

}  // namespace weft::tokenizers
