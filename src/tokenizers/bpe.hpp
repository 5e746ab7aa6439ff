#pragma once

#include <array>
#include <utility>

#include "tokenizers/components.hpp"
#include "tokenizers/merging.hpp"
#include "tokenizers/vocab.hpp"
#include "tokenizers/word_cache.hpp"

namespace weft::tokenizers {

struct BpeOptions {
  bool bytes = true;  ///< the vocabulary spells bytes (ByteLevel); else characters
  std::optional<std::string> unk_token = {};
  bool fuse_unk = false;
  bool byte_fallback = false;  ///< a character that is no token becomes <0x00> .. <0xFF>
  bool ignore_merges = false;  ///< a piece that is a token is taken whole
  bool ranks_by_id = false;    ///< the id that a merge gives is its rank (tiktoken)
  std::string continuing_subword_prefix = "";  ///< what all symbols but a piece's first carry
  /// What the last symbol of a piece carries in the vocabulary (CLIP: "</w>").
  std::string end_of_word_suffix = "";
  std::vector<std::string> whole = {};  ///< tokens that a piece equal to one of them is
};

/// Which pair of ids becomes which id, and when: an open-addressing table.
class MergeTable {
 public:
  void reserve(size_t count);
  /// The last insertion of a pair counts, as in Hugging Face.
  void insert(int32_t left, int32_t right, Merge merge);
  Merge find(int32_t left, int32_t right) const {
    for (auto at = place(left, right); slots_[at].merge.id >= 0;
         at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].left == left && slots_[at].right == right) return slots_[at].merge;
    }
    return {};
  }

 private:
  struct Slot {
    int32_t left = -1, right = -1;
    Merge merge;
  };
  size_t place(int32_t left, int32_t right) const {
    const auto key =
        static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
    return (key * 0x9E3779B97F4A7C15u) >> shift_;
  }
  std::vector<Slot> slots_ = std::vector<Slot>(2);
  int shift_ = 63;
};

/// Byte-pair encoding (Sennrich et al., 2016), over bytes (Radford et al., 2019) or characters: the
/// merge of lowest rank first, the leftmost of them. Pieces that were met before come from a cache.
class Bpe final : public Model {
 public:
  using Merges = std::vector<std::pair<std::string, std::string>>;
  Bpe(const BpeOptions& options, const std::vector<std::pair<std::string, int64_t>>& tokens,
      Merges merges, const Where& where);

  void tokenize(std::string_view text, Piece piece, std::vector<Token>& out) const override;
  int64_t size() const override { return vocab_.size(); }
  std::optional<int64_t> id(std::string_view token) const override;
  const std::string* token(int64_t id) const override { return vocab_.token(id); }
  json to_json() const override;
  const Merges& merges() const { return merges_; }

 private:
  void tokenize_word(std::string_view text, Piece piece, std::vector<Token>& out) const;
  bool spell_bytes(std::string_view word, std::vector<Symbol>& symbols) const;
  void spell_characters(std::string_view word, std::vector<Symbol>& symbols) const;
  int32_t character(std::string_view word, size_t begin, size_t end) const;
  void shift_spans(std::string_view word, size_t begin, std::vector<Token>& tokens,
                   size_t first) const;
  bool splits_at_metaspace() const;

  BpeOptions options_;
  Vocab vocab_;
  Merges merges_;
  MergeTable table_;
  // -1: not in the vocabulary
  std::array<int32_t, 256> bytes_{}, last_bytes_{};  // of a text of bytes
  std::array<int32_t, 256> fallback_{};
  std::array<int32_t, 128> ascii_{};
  TextTable whole_;
  int32_t unk_ = -1;
  bool splits_ = false;  // see splits_at_metaspace()
  WordCache cache_;
};

/// Reads "a b" or ["a", "b"].
Bpe::Merges read_merges(const json& list, const Where& where);

}  // namespace weft::tokenizers
