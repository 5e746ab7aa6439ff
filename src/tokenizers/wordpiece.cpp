#include "tokenizers/wordpiece.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "tokenizers/decoders.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

}  // namespace

WordPiece::WordPiece(const WordPieceOptions& options,
                     const std::vector<std::pair<std::string, int64_t>>& tokens, const Where& where)
    : options_(options), vocab_(tokens) {
  const auto& prefix = options_.continuing_subword_prefix;
  size_t continuations = 0;
  for (const auto& [token, id] : tokens) continuations += token.starts_with(prefix);
  first_.reserve(tokens.size());
  continuation_.reserve(continuations);
  for (const auto& [token, id] : tokens) {
    longest_ = std::max(longest_, token.size());
    first_.insert(token, static_cast<int32_t>(id));
    if (token.starts_with(prefix))
      continuation_.insert(std::string_view(token).substr(prefix.size()), static_cast<int32_t>(id));
  }
  unk_ = vocab_.find(options_.unk_token);
  if (unk_ < 0)
    fail_at(where.at("unk_token"),
            fmt::format("'{}' is not in the vocabulary", options_.unk_token));
}

void WordPiece::tokenize(std::string_view text, Piece piece, std::vector<Token>& out) const {
  const auto word = text.substr(piece.begin, piece.end - piece.begin);
  const auto unknown = [&](size_t kept) {
    out.resize(kept);
    out.push_back({unk_, piece.begin, piece.end});
  };
  const auto kept = out.size();
  const auto limit = static_cast<size_t>(options_.max_input_chars_per_word);
  if (word.size() > limit && count_code_points(word) > options_.max_input_chars_per_word)
    return unknown(kept);

  static thread_local std::vector<uint64_t> hashes;  // of the prefixes of what is left of the word
  for (size_t at = 0; at < word.size();) {
    const auto& table = at ? continuation_ : first_;
    const auto reach = std::min(longest_, word.size() - at);
    hashes.resize(reach);
    auto hash = TextTable::kSeed;
    for (size_t i = 0; i < reach; ++i) hashes[i] = hash = TextTable::extend(hash, word[at + i]);
    int32_t id = -1;
    size_t length = reach;
    for (; length > 0; --length) {
      id = table.find(word.substr(at, length), hashes[length - 1]);
      if (id >= 0) break;
    }
    // A vocabulary of whole UTF-8 strings never ends a match inside a character.
    if (id < 0) return unknown(kept);
    out.push_back({id, piece.begin + at, piece.begin + at + length});
    at += length;
  }
}

std::optional<int64_t> WordPiece::id(std::string_view token) const {
  const auto found = vocab_.find(token);
  return found < 0 ? std::nullopt : std::optional<int64_t>(found);
}

json WordPiece::to_json() const {
  return {{"type", "WordPiece"},
          {"unk_token", options_.unk_token},
          {"continuing_subword_prefix", options_.continuing_subword_prefix},
          {"max_input_chars_per_word", options_.max_input_chars_per_word},
          {"vocab", vocab_.to_json()}};
}

namespace {

class WordPieceStage final : public TokenStage {
 public:
  WordPieceStage(DecodeStage* next, std::string_view prefix, bool cleanup)
      : TokenStage(next), prefix_(prefix), cleanup_(cleanup) {}
  void take(std::string& token) override {
    if (!first_) {
      if (token.starts_with(prefix_)) {
        token.erase(0, prefix_.size());
      } else {
        token.insert(token.begin(), ' ');
      }
    }
    first_ = false;
    if (cleanup_) {
      static constexpr std::pair<std::string_view, std::string_view> kRules[] = {
          {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
          {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
          {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
      for (const auto& [from, to] : kRules) replace_all(token, from, to);
    }
    next_->push(token, true);
  }
  void finish() override {
    first_ = true;
    next_->finish();
  }

 private:
  std::string_view prefix_;
  bool cleanup_;
  bool first_ = true;
};

}  // namespace

std::unique_ptr<DecodeStage> WordPieceDecoder::start(DecodeStage* next) const {
  return std::make_unique<WordPieceStage>(next, prefix_, cleanup_);
}

}  // namespace weft::tokenizers
