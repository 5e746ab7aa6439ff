#pragma once

#include <weft/tokenizers/tokenizer.hpp>

namespace weft::tokenizers {

/// Fills `values` up to `length`; what is longer stays.
template <class T>
void pad_values(std::vector<T>& values, int64_t length, const T& value, Side side) {
  const auto missing = length - static_cast<int64_t>(values.size());
  if (missing > 0)
    values.insert(side == Side::right ? values.end() : values.begin(), missing, value);
}

inline void pad_encoding(Encoding& encoding, int64_t length, const Tokenizer& tokenizer,
                         Side side) {
  if (static_cast<int64_t>(encoding.ids.size()) >= length) return;
  const auto id = tokenizer.pad_id();
  pad_values(encoding.ids, length, id, side);
  pad_values(encoding.tokens, length, tokenizer.token(id), side);
  pad_values(encoding.offsets, length, Offset{}, side);
  pad_values(encoding.mask, length, int64_t{0}, side);
}

}  // namespace weft::tokenizers
