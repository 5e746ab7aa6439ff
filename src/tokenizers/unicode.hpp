#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <weft/core/export.hpp>

namespace weft::tokenizers {

/// Code point at text[at], which must be valid UTF-8; `at` moves behind it.
inline char32_t next_code_point(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<uint8_t>(text[i])); };
  const char32_t first = byte(at);
  if (first < 0x80) return at += 1, first;
  if (first < 0xE0) return at += 2, (first & 0x1F) << 6 | (byte(at - 1) & 0x3F);
  if (first < 0xF0)
    return at += 3, (first & 0x0F) << 12 | (byte(at - 2) & 0x3F) << 6 | (byte(at - 1) & 0x3F);
  return at += 4, (first & 0x07) << 18 | (byte(at - 3) & 0x3F) << 12 | (byte(at - 2) & 0x3F) << 6 |
                      (byte(at - 1) & 0x3F);
}

/// Code point that ends before text[at]; at > 0.
char32_t previous_code_point(std::string_view text, size_t at);

void append_utf8(char32_t code_point, std::string& out);

bool is_ascii(std::string_view text);

/// Length of the longest prefix of valid UTF-8.
WEFT_API size_t valid_utf8_prefix(std::string_view text);

/// Length of the sequence at the start of `text`, which is invalid there: the maximal part of a
/// well-formed sequence, at least 1 (Unicode's practice for U+FFFD, and Rust's from_utf8_lossy).
/// `truncated` tells that more bytes could have completed it.
size_t invalid_utf8_length(std::string_view text, bool& truncated);

/// Appends `text` with each maximal invalid part replaced by U+FFFD.
void append_lossy(std::string_view text, std::string& out);

/// Number of code points of valid UTF-8.
int64_t count_code_points(std::string_view text);

/// Character classes, each as the component of Hugging Face's `tokenizers` that uses it sees them;
/// swept code point by code point in tests/tokenizers/hf_reference_test.cpp.
bool is_white_space(char32_t c);       ///< White_Space; also \s of the byte-level pattern
bool is_letter(char32_t c);            ///< \p{L}
bool is_numeric(char32_t c);           ///< \p{N} of the Digits pre-tokenizer
bool is_number(char32_t c);            ///< \p{N}
bool is_word(char32_t c);              ///< \w, which decides about single_word added tokens
bool is_bert_control(char32_t c);      ///< removed by BertNormalizer's clean_text
bool is_bert_ideograph(char32_t c);    ///< the CJK blocks that BertNormalizer sets apart
bool is_bert_punctuation(char32_t c);  ///< ASCII punctuation and symbols, and \p{P}
bool is_nonspacing_mark(char32_t c);   ///< Mn, as strip_accents removes it
bool is_mark(char32_t c);              ///< \p{M}, as StripAccents removes it

constexpr size_t kMaxDecomposition = 18;
/// Canonical decomposition of one code point (NFD without reordering); returns its length.
size_t canonical_decomposition(char32_t c, char32_t (&out)[kMaxDecomposition]);
/// Compatibility decomposition (NFKD), the same way.
size_t compatibility_decomposition(char32_t c, char32_t (&out)[kMaxDecomposition]);
int combining_class(char32_t c);
/// Full lower case; returns its length.
size_t lowercase(char32_t c, char32_t (&out)[2]);

}  // namespace weft::tokenizers
