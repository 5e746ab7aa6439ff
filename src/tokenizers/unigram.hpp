#pragma once

#include "tokenizers/components.hpp"
#include "tokenizers/trie.hpp"
#include "tokenizers/vocab.hpp"
#include "tokenizers/word_cache.hpp"

namespace weft::tokenizers {

struct ScoredToken {
  std::string token = {};
  double score = 0;
};

/// The unigram language model (Kudo, 2018) of a tokenizer.json: of all ways to cut a piece the one
/// of the highest sum of scores (Viterbi); a character that no token covers is unknown, and unknown
/// ones in a row are one token.
class Unigram final : public Model {
 public:
  /// unk_id -1: none, and a piece that needs it is an Error.
  Unigram(std::vector<ScoredToken> tokens, int64_t unk_id, bool byte_fallback, const Where& where);

  void tokenize(std::string_view text, Piece piece, std::vector<Token>& out) const override;
  int64_t size() const override { return static_cast<int64_t>(tokens_.size()); }
  std::optional<int64_t> id(std::string_view token) const override;
  const std::string* token(int64_t id) const override;
  std::string written(const Token& token, std::string_view text) const override;
  json to_json() const override;

 private:
  void emit(std::string_view text, size_t begin, size_t end, std::vector<Token>& out) const;

  std::vector<ScoredToken> tokens_;
  Trie trie_;
  TextTable ids_;
  std::vector<int32_t> fallback_;  // ids of <0x00> .. <0xFF>, -1 where absent
  int32_t unk_;
  bool byte_fallback_;
  double unk_score_;
  std::string file_;
  WordCache cache_;
};

/// The best way through text[begin, end): calls step(begin, end, id) from its last token to its
/// first. Score is the type of the sums; score(id, length) the value of a token; unk_score and
/// unk_id that of a character that no token covers. `sum` is the sum so far and becomes that at the
/// end.
template <class Score, class Value, class Step>
void best_path(const Trie& trie, std::string_view text, size_t begin, size_t end, Value&& score,
               Score unk_score, int32_t unk_id, Score& sum, Step&& step) {
  struct Node {
    Score sum = 0;
    int64_t from = -1;
    int32_t id = 0;
  };
  static thread_local std::vector<Node> nodes;
  const auto size = end - begin;
  nodes.assign(size + 1, {});
  nodes[0].sum = sum;
  const auto piece = text.substr(begin, size);
  const auto offer = [&](size_t at, size_t from, auto total, int32_t id) {
    if (nodes[at].from < 0 || total > nodes[at].sum)
      nodes[at] = {static_cast<Score>(total), static_cast<int64_t>(from), id};
  };
  for (size_t at = 0; at < size;) {
    const auto first = static_cast<uint8_t>(piece[at]);
    const size_t character = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    const auto here = nodes[at].sum;
    bool single = false;
    trie.each_prefix(piece.substr(at), [&](size_t length, int32_t id) {
      offer(at + length, at, score(id, length) + here, id);
      single |= length == character;
    });
    if (!single) offer(at + character, at, unk_score + here, unk_id);
    at += character;
  }
  sum = nodes[size].sum;
  for (auto at = size; at > 0;) {
    const auto& node = nodes[at];
    const auto from = static_cast<size_t>(node.from);
    step(begin + from, begin + at, node.id);
    at = from;
  }
}

}  // namespace weft::tokenizers
