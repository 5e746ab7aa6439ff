#pragma once

#include "tokenizers/components.hpp"

namespace weft::tokenizers {

struct BertNormalizerOptions {
  bool clean_text = true;
  bool handle_chinese_chars = true;
  bool strip_accents = true;
  bool lowercase = true;
};

/// BERT's basic text cleaning (google-research/bert tokenization.py), as Hugging Face does it:
/// control characters out, white space to ' ', spaces around ideographs, NFD without non-spacing
/// marks, lower case.
class BertNormalizer final : public Normalizer {
 public:
  explicit BertNormalizer(const BertNormalizerOptions& options) : options_(options) {}
  void apply(Text& text) const override;

 private:
  BertNormalizerOptions options_;
};

/// Splits at white space, which is dropped, and sets punctuation apart.
class BertPreTokenizer final : public PreTokenizer {
 public:
  void split(Text& text, std::vector<Piece>& pieces) const override;
};

}  // namespace weft::tokenizers
