#pragma once

#include "tokenizers/chars.hpp"

/// Characters and strings as Python 3.11 (Unicode 14) sees them, and its `regex` package (2026.11),
/// whose tables are younger; swept in tests/tokenizers/open_clip_test.cpp.
namespace weft::tokenizers {

bool is_python_space(char32_t c);  ///< str.isspace
bool is_python_digit(char32_t c);  ///< \d of `re`
bool is_regex_letter(char32_t c);  ///< \p{L} of `regex`
bool is_regex_number(char32_t c);  ///< \p{N} of `regex`
int python_combining_class(char32_t c);

/// str.lower(): full lower case, with the final sigma.
void python_lower(Chars& chars);

/// " ".join(text.split())
void python_join_words(Chars& chars);

}  // namespace weft::tokenizers
