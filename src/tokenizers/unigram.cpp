#include "tokenizers/unigram.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "core/fail.hpp"

namespace weft::tokenizers {
namespace {

constexpr double kUnkPenalty = 10;

size_t total_bytes(const std::vector<ScoredToken>& tokens) {
  size_t out = 0;
  for (const auto& token : tokens) out += token.token.size();
  return out;
}

}  // namespace

Unigram::Unigram(std::vector<ScoredToken> tokens, int64_t unk_id, bool byte_fallback,
                 const Where& where)
    : tokens_(std::move(tokens)),
      trie_(total_bytes(tokens_)),
      unk_(static_cast<int32_t>(unk_id)),
      byte_fallback_(byte_fallback),
      file_(where.file) {
  if (unk_id >= size())
    fail_at(where.at("unk_id"),
            fmt::format("expected an id below {}, found {}", tokens_.size(), unk_id));
  auto lowest = std::numeric_limits<double>::infinity();
  ids_.reserve(tokens_.size());
  for (auto id = size() - 1; id >= 0; --id)  // of equal tokens the last counts
    ids_.insert(tokens_[id].token, static_cast<int32_t>(id));
  for (int64_t id = 0; id < size(); ++id) {
    if (!std::isfinite(tokens_[id].score))
      fail_at(where.at("vocab").at(static_cast<size_t>(id)), "the score is not finite");
    trie_.insert(tokens_[id].token, static_cast<int32_t>(id));
    lowest = std::min(lowest, tokens_[id].score);
  }
  unk_score_ = lowest - kUnkPenalty;
  for (int byte = 0; byte < 256; ++byte)
    fallback_.push_back(ids_.find(fmt::format("<0x{:02X}>", byte)));
}

// A token, or a run of unknown characters, of the text.
void Unigram::emit(std::string_view text, size_t begin, size_t end, std::vector<Token>& out) const {
  const auto written = text.substr(begin, end - begin);
  if (const auto id = ids_.find(written); id >= 0) return out.push_back({id, begin, end});
  const auto byte = [&](char c) { return fallback_[static_cast<uint8_t>(c)]; };
  if (byte_fallback_ && std::ranges::all_of(written, [&](char c) { return byte(c) >= 0; })) {
    for (const char c : written) out.push_back({byte(c), begin, end});
  } else {
    out.push_back({unk_, begin, end});
  }
}

void Unigram::tokenize(std::string_view text, Piece piece, std::vector<Token>& out) const {
  const auto word = text.substr(piece.begin, piece.end - piece.begin);
  if (cache_.find(word, piece.begin, out)) return;
  static thread_local std::vector<Token> path;
  path.clear();
  double sum = 0;
  best_path(
      trie_, text, piece.begin, piece.end, [&](int32_t id, size_t) { return tokens_[id].score; },
      unk_score_, unk_, sum,
      [&](size_t begin, size_t end, int32_t id) {
        // From the last to the first.
        if (id == unk_ && !path.empty() && path.back().id == unk_) {
          path.back().begin = begin;
        } else {
          path.push_back({id, begin, end});
        }
      });
  const auto first = out.size();
  for (auto token = path.rbegin(); token != path.rend(); ++token) {
    if (token->id < 0)
      fail("{}: the text has characters that no token covers, and the model no unk_id", file_);
    emit(text, token->begin, token->end, out);
  }
  cache_.store(word, piece.begin, out, first);
}

std::optional<int64_t> Unigram::id(std::string_view token) const {
  const auto found = ids_.find(token);
  return found < 0 ? std::nullopt : std::optional<int64_t>(found);
}

const std::string* Unigram::token(int64_t id) const {
  return id >= 0 && id < size() ? &tokens_[id].token : nullptr;
}

std::string Unigram::written(const Token& token, std::string_view text) const {
  if (token.id != unk_ && byte_fallback_) return tokens_[token.id].token;
  return std::string(text.substr(token.begin, token.end - token.begin));
}

json Unigram::to_json() const {
  auto vocab = json::array();
  for (const auto& [token, score] : tokens_) vocab.push_back({token, score});
  return {{"type", "Unigram"},
          {"unk_id", unk_ < 0 ? json() : json(unk_)},
          {"vocab", std::move(vocab)},
          {"byte_fallback", byte_fallback_}};
}

}  // namespace weft::tokenizers
