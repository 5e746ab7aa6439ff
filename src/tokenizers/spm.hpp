#pragma once

#include "tokenizers/charsmap.hpp"
#include "tokenizers/components.hpp"
#include "tokenizers/merging.hpp"
#include "tokenizers/spm_file.hpp"
#include "tokenizers/trie.hpp"
#include "tokenizers/vocab.hpp"
#include "tokenizers/word_cache.hpp"

/// SentencePiece's own way from a text to ids (Kudo and Richardson, 2018), which differs in details
/// from that of a tokenizer.json made of the same model.
namespace weft::tokenizers {

/// The longest rule at each place, white space made one and escaped, a mark in front.
class SpmNormalizer final : public Normalizer {
 public:
  /// `inside`: something stands in front of every text.
  SpmNormalizer(const SpmFile& file, const Where& where, bool inside = false);
  void apply(Text& text) const override;

 private:
  std::string_view prefix(std::string_view text, size_t& length) const;

  SpmNormalizerSpec spec_;
  bool suffix_, strips_front_;
  CharsMap map_;
  Trie user_defined_;  // which no rule touches
};

/// The pieces of both kinds of model.
class SpmModel : public Model {
 public:
  int64_t size() const override { return static_cast<int64_t>(file_.pieces.size()); }
  std::optional<int64_t> id(std::string_view token) const override;
  const std::string* token(int64_t id) const override;
  json to_json() const override;
  const SpmFile& file() const { return file_; }

 protected:
  explicit SpmModel(SpmFile file);
  SpmPiece::Type type(int64_t id) const { return file_.pieces[id].type; }
  /// A piece of the text: its bytes where it is unknown and the model falls back to them.
  void emit(std::string_view text, size_t begin, size_t end, int32_t id,
            std::vector<Token>& out) const;
  /// What stands on the two sides of a metaspace never meets in a piece.
  bool splits() const { return splits_; }
  /// The end of the word at text[at], of a text that ends at `end`.
  size_t word_end(std::string_view text, size_t at, size_t end) const;

  SpmFile file_;
  TextTable ids_;  // all pieces
  int32_t unk_ = 0;
  size_t longest_ = 0;  // bytes of a piece

 private:
  std::vector<int32_t> bytes_;
  bool splits_ = false;
};

class SpmUnigram final : public SpmModel {
 public:
  explicit SpmUnigram(SpmFile file);
  void tokenize(std::string_view text, Piece piece, std::vector<Token>& out) const override;

 private:
  Trie trie_;
  float unk_score_ = 0;
  float highest_ = 0;
};

class SpmBpe final : public SpmModel {
 public:
  explicit SpmBpe(SpmFile file);
  void tokenize(std::string_view text, Piece piece, std::vector<Token>& out) const override;

 private:
  void tokenize_word(std::string_view text, Piece piece, std::vector<Token>& out) const;

  TextTable mergeable_;          // normal, user-defined and unused pieces
  std::vector<uint32_t> ranks_;  // by id; the highest score first
  Trie user_defined_;            // pieces that stay whole
  bool has_unused_ = false;
  WordCache cache_;
};

/// Pieces back to text.
class SpmDecoder final : public Decoder {
 public:
  explicit SpmDecoder(const SpmFile& file, const Where& where);
  std::unique_ptr<DecodeStage> start(DecodeStage* next) const override;

 private:
  friend class SpmStage;
  TextTable kinds_;  // pieces that are not plain text -> SpmPiece::Type
  std::string unk_surface_;
  bool strips_first_, strips_all_;
  std::shared_ptr<const SpmNormalizer> denormalizer_;
};

}  // namespace weft::tokenizers
