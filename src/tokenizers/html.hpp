#pragma once

#include <string_view>

#include "tokenizers/chars.hpp"

namespace weft::tokenizers {

/// HTML's named characters: "name code code;" in hex, by name; '?' behind a name that may do
/// without its semicolon.
extern const std::string_view kHtmlEntities;

/// What Windows-1252 has where Latin-1 has the controls 0x80..0x9F; other characters, and the five
/// that it leaves open, stay.
char32_t windows_1252(char32_t c);

/// Python's html.unescape: named and numeric character references, with and without semicolons, as
/// browsers read them.
void unescape_html(Chars& chars);

/// ftfy's unescape_html: only references that end in a semicolon, and names in capitals where that
/// is clear.
void unescape_html_strictly(Chars& chars);

}  // namespace weft::tokenizers
