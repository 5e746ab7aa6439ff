#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenizers/components.hpp"

namespace weft::tokenizers {

/// The tokens of short pieces that a model has met before: a table of fixed size for each thread,
/// which all models share.
class WordCache {
 public:
  WordCache();
  /// Appends the tokens of `word`, which begins at `begin` of the text; false where it is not
  /// there.
  bool find(std::string_view word, size_t begin, std::vector<Token>& out) const;
  /// Keeps the tokens from `first` on; where there are too many of them, or the word is too long,
  /// nothing happens.
  void store(std::string_view word, size_t begin, const std::vector<Token>& tokens,
             size_t first) const;

 private:
  uint64_t serial_;  // tells the entries of two models apart
};

}  // namespace weft::tokenizers
