#pragma once

#include "tokenizers/components.hpp"
#include "tokenizers/vocab.hpp"

namespace weft::tokenizers {

struct WordPieceOptions {
  std::string unk_token = "[UNK]";
  std::string continuing_subword_prefix = "##";
  int64_t max_input_chars_per_word = 100;
};

/// Greedy longest match from the left (Schuster and Nakajima, 2012; BERT). A word that cannot be
/// covered, or is too long, is one unk_token.
class WordPiece final : public Model {
 public:
  WordPiece(const WordPieceOptions& options,
            const std::vector<std::pair<std::string, int64_t>>& tokens, const Where& where);

  void tokenize(std::string_view text, Piece piece, std::vector<Token>& out) const override;
  int64_t size() const override { return vocab_.size(); }
  std::optional<int64_t> id(std::string_view token) const override;
  const std::string* token(int64_t id) const override { return vocab_.token(id); }
  json to_json() const override;

 private:
  WordPieceOptions options_;
  Vocab vocab_;
  TextTable first_;         // every token: what may start a word
  TextTable continuation_;  // tokens behind the prefix
  size_t longest_ = 0;      // bytes
  int64_t unk_ = 0;
};

/// Joins with spaces, takes the continuation prefix off, and tidies English punctuation.
class WordPieceDecoder final : public Decoder {
 public:
  WordPieceDecoder(std::string prefix, bool cleanup)
      : prefix_(std::move(prefix)), cleanup_(cleanup) {}
  std::unique_ptr<DecodeStage> start(DecodeStage* next) const override;

 private:
  std::string prefix_;
  bool cleanup_;
};

}  // namespace weft::tokenizers
