#pragma once

#include "tokenizers/components.hpp"

namespace weft::tokenizers {

/// The patterns of byte-level vocabularies after GPT-2, by what tells them apart.
struct WordSplitOptions {
  int digits = 3;            ///< numbers in a row that stay together
  bool cased = false;        ///< a word breaks in front of upper case (o200k, tekken)
  bool contractions = true;  ///< 's, 't, 're, 've, 'm, 'll and 'd in any case
  bool whole_tail = false;   ///< white space at the end of the text is one piece
};

/// Splits as one of these does, by hand:
///   cl100k, Llama 3 (digits 3) and Qwen 2 (digits 1):
///     (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*
///     |\s*[\r\n]+|\s+(?!\S)|\s+
///   o200k, and tekken without contractions, with U for [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] and L for
///   [\p{Ll}\p{Lm}\p{Lo}\p{M}]:
///     [^\r\n\p{L}\p{N}]?U*L+(?i:'s|..)?|[^\r\n\p{L}\p{N}]?U+L*(?i:'s|..)?|\p{N}{1,3}
///     | ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
class WordSplit final : public PreTokenizer {
 public:
  explicit WordSplit(const WordSplitOptions& options) : options_(options) {}
  void split(Text& text, std::vector<Piece>& pieces) const override;

 private:
  WordSplitOptions options_;
};

extern const char* const kLlama3Pattern;
extern const char* const kQwen2Pattern;
extern const char* const kCl100kPattern;  ///< what tiktoken means, for Oniguruma
extern const char* const kO200kPattern;

/// The options of a pattern that is one of these, by its text.
std::optional<WordSplitOptions> known_word_pattern(std::string_view pattern);

}  // namespace weft::tokenizers
