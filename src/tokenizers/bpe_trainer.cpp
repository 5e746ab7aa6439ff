#include <algorithm>
#include <queue>
#include <unordered_map>

#include <weft/tokenizers/bpe_trainer.hpp>

#include "core/fail.hpp"
#include "tokenizers/byte_level.hpp"
#include "tokenizers/documents.hpp"
#include "tokenizers/pipeline.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {
namespace {

using Pair = uint64_t;  // left id in the upper half: pairs compare as (left, right)
Pair pair_of(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

struct Word {
  std::vector<int32_t> symbols;
  int64_t count = 0;
};

// A pair waiting for its merge, with the words that held it when the entry was made. The count may
// be out of date; it is looked at again when the entry comes to the top.
struct Waiting {
  int64_t count = 0;
  Pair pair = 0;
  std::vector<int32_t> words;
  bool operator<(const Waiting& other) const {
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

class Trainer {
 public:
  explicit Trainer(const BpeTrainerOptions& options) : options_(options) {
    for (const auto& token : options.special_tokens) {
      if (token.empty()) fail(ErrorKind::usage, "train_byte_level_bpe: a special token is empty");
      if (!add(token))
        fail(ErrorKind::usage, "train_byte_level_bpe: the special token '{}' stands there twice",
             token);
    }
    // The bytes in the order of their symbols, as Hugging Face sorts its alphabet.
    std::vector<std::pair<char32_t, int>> alphabet;
    for (int byte = 0; byte < 256; ++byte) {
      size_t at = 0;
      alphabet.emplace_back(next_code_point(byte_symbol(static_cast<uint8_t>(byte)), at), byte);
    }
    std::sort(alphabet.begin(), alphabet.end());
    for (const auto& [symbol, byte] : alphabet) bytes_[byte] = *insert(byte_symbol(byte));
    if (static_cast<int64_t>(tokens_.size()) > options.vocab_size)
      fail(ErrorKind::usage,
           "train_byte_level_bpe: vocab_size {} is too small; the special tokens and bytes are {}",
           options.vocab_size, tokens_.size());
  }

  void count(const std::vector<std::string>& texts) {
    const ByteLevel splitter(options_.add_prefix_space, true);
    std::unordered_map<std::string, int64_t> counts;
    Text text;
    std::vector<Piece> pieces;
    for (const auto& raw : texts) {
      text.clear();
      append_lossy(raw, text.bytes);
      if (text.bytes.empty()) continue;
      pieces.assign(1, {0, text.bytes.size()});
      splitter.split(text, pieces);
      for (const auto& piece : pieces)
        ++counts[text.bytes.substr(piece.begin, piece.end - piece.begin)];
    }
    for (const auto& [piece, times] : counts) {
      Word word;
      word.count = times;
      for (const char c : piece) word.symbols.push_back(bytes_[static_cast<uint8_t>(c)]);
      words_.push_back(std::move(word));
    }
  }

  void learn() {
    std::unordered_map<Pair, std::vector<int32_t>> places;
    for (size_t w = 0; w < words_.size(); ++w) {
      const auto& symbols = words_[w].symbols;
      for (size_t i = 1; i < symbols.size(); ++i)
        note(places, pair_of(symbols[i - 1], symbols[i]), static_cast<int32_t>(w), words_[w].count);
    }
    std::priority_queue<Waiting> queue;
    const auto enqueue = [&] {
      for (auto& [pair, words] : places) {
        const auto count = counts_[pair];
        if (count > 0) queue.push({count, pair, std::move(words)});
      }
      places.clear();
    };
    enqueue();
    while (static_cast<int64_t>(tokens_.size()) < options_.vocab_size && !queue.empty()) {
      auto top = std::move(const_cast<Waiting&>(queue.top()));
      queue.pop();
      const auto count = counts_[top.pair];
      if (top.count != count) {
        top.count = count;
        queue.push(std::move(top));
        continue;
      }
      if (count < 1 || count < options_.min_frequency) break;
      const auto left = static_cast<int32_t>(top.pair >> 32);
      const auto right = static_cast<int32_t>(top.pair & 0xFFFFFFFF);
      const auto token = *insert(tokens_[left] + tokens_[right]);
      merges_.emplace_back(tokens_[left], tokens_[right]);
      for (const auto w : top.words) merge(w, left, right, token, places);
      enqueue();
    }
  }

  json document() const {
    auto vocab = json::object();
    for (size_t id = 0; id < tokens_.size(); ++id) vocab[tokens_[id]] = id;
    auto merges = json::array();
    for (const auto& [left, right] : merges_) merges.push_back({left, right});
    auto added = json::array();
    for (size_t id = 0; id < options_.special_tokens.size(); ++id)
      added.push_back(special_token(static_cast<int64_t>(id), options_.special_tokens[id]));
    return byte_level_document(std::move(vocab), std::move(merges), std::move(added),
                               options_.add_prefix_space, post_processor());
  }

 private:
  using Places = std::unordered_map<Pair, std::vector<int32_t>>;

  bool add(const std::string& token) {
    if (!ids_.emplace(token, static_cast<int32_t>(tokens_.size())).second) return false;
    tokens_.push_back(token);
    return true;
  }
  // The id of a token, new or not: two merges may give one token.
  const int32_t* insert(const std::string& token) {
    add(token);
    return &ids_.find(token)->second;
  }

  void note(Places& places, Pair pair, int32_t word, int64_t change) {
    counts_[pair] += change;
    auto& words = places[pair];
    if (words.empty() || words.back() != word) words.push_back(word);
  }

  // Merges in one word, left to right; counts of the pairs at both sides follow.
  void merge(int32_t w, int32_t left, int32_t right, int32_t token, Places& places) {
    auto& word = words_[w];
    auto& symbols = word.symbols;
    size_t kept = 0;
    for (size_t i = 0; i < symbols.size(); ++i) {
      if (symbols[i] != left || i + 1 == symbols.size() || symbols[i + 1] != right) {
        symbols[kept++] = symbols[i];
        continue;
      }
      if (kept > 0) {
        counts_[pair_of(symbols[kept - 1], left)] -= word.count;
        note(places, pair_of(symbols[kept - 1], token), w, word.count);
      }
      ++i;
      if (i + 1 < symbols.size()) {
        counts_[pair_of(right, symbols[i + 1])] -= word.count;
        note(places, pair_of(token, symbols[i + 1]), w, word.count);
      }
      symbols[kept++] = token;
    }
    symbols.resize(kept);
  }

  json post_processor() const {
    auto single = json::array(), pair = json::array();
    auto specials = json::object();
    const auto special = [&](const std::string& token) {
      if (token.empty()) return;
      const auto& list = options_.special_tokens;
      const auto found = std::find(list.begin(), list.end(), token);
      if (found == list.end())
        fail(ErrorKind::usage, "train_byte_level_bpe: '{}' is not among the special tokens", token);
      const json part = {{"SpecialToken", {{"id", token}, {"type_id", 0}}}};
      single.push_back(part);
      pair.push_back(part);
      specials[token] = {{"id", token},
                         {"ids", json::array({found - list.begin()})},
                         {"tokens", json::array({token})}};
    };
    const json first = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
    special(options_.bos_token);
    single.push_back(first);
    pair.push_back(first);
    pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
    special(options_.eos_token);
    return {{"type", "TemplateProcessing"},
            {"single", std::move(single)},
            {"pair", std::move(pair)},
            {"special_tokens", std::move(specials)}};
  }

  const BpeTrainerOptions& options_;
  std::array<int32_t, 256> bytes_{};
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, int32_t> ids_;
  std::vector<std::pair<std::string, std::string>> merges_;
  std::vector<Word> words_;
  std::unordered_map<Pair, int64_t> counts_;
};

}  // namespace

std::shared_ptr<Tokenizer> train_byte_level_bpe(const std::vector<std::string>& texts,
                                                const BpeTrainerOptions& options) {
  Trainer trainer(options);
  trainer.count(texts);
  trainer.learn();
  return std::make_shared<Pipeline>(trainer.document(), json::object(), "trained tokenizer");
}

}  // namespace weft::tokenizers
