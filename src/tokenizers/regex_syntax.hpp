#pragma once

#include <string>
#include <string_view>

#include "tokenizers/components.hpp"

namespace weft::tokenizers {

/// A pattern of Oniguruma (Ruby's syntax, Unicode 16) as PCRE2 (Unicode 14) has to be told it:
/// white space, words, hexadecimal digits, intervals with a plus behind, and the characters that
/// came to \p{L}, \p{M}, \p{N}, \p{P}, \p{S} and their parts since.
std::string translate_pattern(std::string_view pattern, const Where& where);

}  // namespace weft::tokenizers
