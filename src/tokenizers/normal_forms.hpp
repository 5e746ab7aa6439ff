#pragma once

#include "tokenizers/chars.hpp"

namespace weft::tokenizers {

/// Whose character data: Hugging Face's `tokenizers` normalizes by that of Unicode 9, Python 3.11
/// by that of Unicode 14.
enum class UnicodeData { hugging_face, python };

/// Unicode's normalization forms (UAX #15).
enum class Form { nfc, nfd, nfkc, nfkd };

/// Brings `chars` into a form. A composed character is counted at the first of those that it is
/// made of, as in Hugging Face. Python's data is there for the canonical forms.
void normalize(Chars& chars, Form form, UnicodeData data);

}  // namespace weft::tokenizers
