#pragma once

#include <cstdint>

namespace weft::tokenizers {

/// What the patterns that split texts ask of a character, in the Unicode version of Hugging Face's
/// `tokenizers` (16), as bits.
enum CharKind : uint8_t {
  kUpper = 1,       ///< \p{Lu} and \p{Lt}
  kLower = 2,       ///< \p{Ll}
  kCaseless = 4,    ///< \p{Lm} and \p{Lo}
  kMark = 8,        ///< \p{M}
  kNumeral = 16,    ///< \p{N}
  kBlank = 32,      ///< \s
  kLineBreak = 64,  ///< '\n' and '\r'
  kAnyLetter = kUpper | kLower | kCaseless,
};

/// The bits of a code point; one look into a table.
uint8_t char_kinds(char32_t c);

}  // namespace weft::tokenizers
