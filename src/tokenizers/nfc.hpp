#pragma once

#include "tokenizers/chars.hpp"

namespace weft::tokenizers {

/// Whose character data: Hugging Face's `tokenizers` normalizes by that of Unicode 9, Python 3.11
/// by that of Unicode 14.
enum class UnicodeData { hugging_face, python };

/// Unicode's normalization form C. A composed character is counted at the first of those that it
/// is made of, as in Hugging Face.
void compose(Chars& chars, UnicodeData data);

}  // namespace weft::tokenizers
