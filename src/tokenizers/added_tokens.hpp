#pragma once

#include <bitset>
#include <string>
#include <unordered_map>
#include <vector>

#include "tokenizers/components.hpp"
#include "tokenizers/vocab.hpp"

namespace weft::tokenizers {

struct AddedToken {
  int64_t id = 0;
  std::string content = {};
  bool single_word = false, lstrip = false, rstrip = false, normalized = false, special = false;
};

/// Finds added tokens in a text: at the leftmost place the longest one.
class AddedTokenMatcher {
 public:
  /// `texts[i]` is what tokens[i] looks like in the text (its content, normalized where it is so).
  AddedTokenMatcher(std::vector<AddedToken> tokens, const std::vector<std::string>& texts);
  AddedTokenMatcher() = default;

  /// The next added token in text[from, end): its id and span, lstrip and rstrip included, or
  /// id -1. Nothing before `from` is taken.
  Token next(std::string_view text, size_t from) const;
  bool empty() const { return tokens_.empty(); }

 private:
  std::vector<AddedToken> tokens_;
  TextTable table_;              // text -> index in tokens_
  std::vector<size_t> lengths_;  // descending
  std::bitset<65536> starts_;    // the first two bytes of every text
};

}  // namespace weft::tokenizers
