#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizers/components.hpp"

namespace weft::tokenizers {

/// SentencePiece's compiled normalization rules ("precompiled_charsmap"): a double-array trie
/// (Darts-clone) of character sequences, then their replacements, each ended by a zero byte.
class CharsMap {
 public:
  CharsMap() = default;
  /// Error where the sizes do not fit together.
  CharsMap(std::string_view bytes, const Where& where);
  bool empty() const { return units_.empty(); }

  struct Match {
    size_t length = 0;  ///< of the input; 0 = no rule
    std::string_view replacement = {};
  };
  /// The shortest and the longest rule that `text` begins with.
  Match shortest(std::string_view text) const { return find(text, true); }
  Match longest(std::string_view text) const { return find(text, false); }

 private:
  Match find(std::string_view text, bool first) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

/// The normalizer of that name in a tokenizer.json: the shortest rule of each grapheme cluster
/// below 6 bytes replaces it whole; of others each character is looked up.
class PrecompiledNormalizer final : public Normalizer {
 public:
  explicit PrecompiledNormalizer(CharsMap map) : map_(std::move(map)) {}
  void apply(Text& text) const override;

 private:
  CharsMap map_;
};

}  // namespace weft::tokenizers
