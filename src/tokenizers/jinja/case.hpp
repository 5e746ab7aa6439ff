#pragma once

#include <string>

namespace weft::tokenizers::jinja {

/// Appends Python's str.upper() of one character, or its title case.
void append_cased(char32_t c, bool title, std::string& out);

}  // namespace weft::tokenizers::jinja
