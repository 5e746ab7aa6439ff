#include "tokenizers/added_tokens.hpp"

#include <algorithm>

#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {
namespace {

size_t pair_of(char a, char b) { return static_cast<uint8_t>(a) << 8 | static_cast<uint8_t>(b); }

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens,
                                     const std::vector<std::string>& texts)
    : tokens_(std::move(tokens)) {
  table_.reserve(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto& text = texts[i];
    if (text.empty()) continue;
    table_.insert(text, static_cast<int32_t>(i));
    lengths_.push_back(text.size());
    if (text.size() > 1) {
      starts_.set(pair_of(text[0], text[1]));
    } else {
      for (int second = 0; second < 256; ++second)
        starts_.set(pair_of(text[0], static_cast<char>(second)));
    }
  }
  std::sort(lengths_.begin(), lengths_.end(), std::greater<>());
  lengths_.erase(std::unique(lengths_.begin(), lengths_.end()), lengths_.end());
  if (lengths_.empty()) tokens_.clear();
}

Token AddedTokenMatcher::next(std::string_view text, size_t from) const {
  static thread_local std::vector<uint64_t> hashes;
  for (auto at = from; at < text.size(); ++at) {
    // The last byte has no second one; a text of one byte is marked with every second.
    if (!starts_[pair_of(text[at], at + 1 < text.size() ? text[at + 1] : '\0')]) continue;
    const auto reach = std::min(lengths_.front(), text.size() - at);
    hashes.resize(reach);
    auto hash = TextTable::kSeed;
    for (size_t i = 0; i < reach; ++i) hashes[i] = hash = TextTable::extend(hash, text[at + i]);
    for (const auto length : lengths_) {
      if (length > reach) continue;
      const auto index = table_.find(text.substr(at, length), hashes[length - 1]);
      if (index < 0) continue;
      const auto& token = tokens_[index];
      auto begin = at, end = at + length;
      if (token.single_word) {
        auto after = end;
        if ((begin > 0 && is_word(previous_code_point(text, begin))) ||
            (end < text.size() && is_word(next_code_point(text, after)))) {
          at = end - 1;  // a longest match that is refused hides shorter ones, as in Hugging Face
          break;
        }
      }
      if (token.lstrip) {
        while (begin > from) {
          const auto c = previous_code_point(text, begin);
          if (!is_white_space(c)) break;
          do --begin;
          while ((static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80);
        }
      }
      if (token.rstrip) {
        while (end < text.size()) {
          auto after = end;
          if (!is_white_space(next_code_point(text, after))) break;
          end = after;
        }
      }
      return {token.id, begin, end};
    }
  }
  return {-1, text.size(), text.size()};
}

}  // namespace weft::tokenizers
