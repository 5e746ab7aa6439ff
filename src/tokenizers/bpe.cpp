#include "tokenizers/bpe.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "core/fail.hpp"
#include "tokenizers/byte_level.hpp"
#include "tokenizers/metaspace.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {

void MergeTable::reserve(size_t count) {
  size_t size = 2;
  shift_ = 63;
  for (; size < 2 * count; size *= 2) --shift_;
  slots_.assign(size, {});
}

void MergeTable::insert(int32_t left, int32_t right, Merge merge) {
  auto at = place(left, right);
  while (slots_[at].merge.id >= 0 && (slots_[at].left != left || slots_[at].right != right))
    at = (at + 1) & (slots_.size() - 1);
  slots_[at] = {left, right, merge};
}

Bpe::Bpe(const BpeOptions& options, const std::vector<std::pair<std::string, int64_t>>& tokens,
         Merges merges, const Where& where)
    : options_(options), vocab_(tokens), merges_(std::move(merges)) {
  for (int byte = 0; byte < 256; ++byte) {
    const auto& symbol = byte_symbol(static_cast<uint8_t>(byte));
    bytes_[byte] = vocab_.find(symbol);
    last_bytes_[byte] = vocab_.find(symbol + options_.end_of_word_suffix);
    fallback_[byte] = vocab_.find(fmt::format("<0x{:02X}>", byte));
    if (byte < 128) ascii_[byte] = vocab_.find(std::string(1, static_cast<char>(byte)));
  }
  whole_.reserve(options_.whole.size());
  for (const auto& token : options_.whole) whole_.insert(token, vocab_.find(token));
  if (options_.unk_token) {
    unk_ = vocab_.find(*options_.unk_token);
    if (unk_ < 0)
      fail_at(where.at("unk_token"),
              fmt::format("'{}' is not in the vocabulary", *options_.unk_token));
  }
  table_.reserve(merges_.size());
  for (size_t rank = 0; rank < merges_.size(); ++rank) {
    const auto& [left, right] = merges_[rank];
    const auto known = [&](const std::string& token) {
      const auto id = vocab_.find(token);
      if (id < 0)
        fail_at(where.at("merges").at(rank),
                fmt::format("the token '{}' is not in the vocabulary", token));
      return id;
    };
    const auto a = known(left), b = known(right);
    const auto prefix = std::min(options_.continuing_subword_prefix.size(), right.size());
    const auto id = known(left + right.substr(prefix));
    table_.insert(a, b, {static_cast<uint32_t>(options_.ranks_by_id ? id : rank), id});
  }
  splits_ = splits_at_metaspace();
}

// Where no merge puts something in front of a metaspace, what stands on its two sides never meets:
// a long text may be read word by word.
bool Bpe::splits_at_metaspace() const {
  if (options_.bytes || options_.ignore_merges || !options_.whole.empty() ||
      !options_.continuing_subword_prefix.empty() || !options_.end_of_word_suffix.empty() ||
      vocab_.find(kMetaspace) < 0)
    return false;
  for (const auto& [left, right] : merges_) {
    const auto token = left + right;
    if (token.find(kMetaspace, behind_metaspaces(token, 0)) != std::string::npos) return false;
  }
  return true;
}

bool Bpe::spell_bytes(std::string_view word, std::vector<Symbol>& symbols) const {
  bool skipped = false;
  for (size_t i = 0; i < word.size(); ++i) {
    const auto& table = i + 1 < word.size() ? bytes_ : last_bytes_;
    auto id = table[static_cast<uint8_t>(word[i])];
    if (id < 0) {
      if (unk_ < 0) {
        skipped = true;
        continue;
      }
      if (options_.fuse_unk && !symbols.empty() && symbols.back().id == unk_) {
        ++symbols.back().length;
        continue;
      }
      id = unk_;
    }
    add_symbol(id, 1, symbols);
  }
  return skipped;
}

// The id of one character of a word, or -1.
int32_t Bpe::character(std::string_view word, size_t begin, size_t end) const {
  const bool prefixed = begin > 0 && !options_.continuing_subword_prefix.empty();
  const bool suffixed = end == word.size() && !options_.end_of_word_suffix.empty();
  if (!prefixed && !suffixed) {
    return end - begin == 1 ? ascii_[static_cast<uint8_t>(word[begin])]
                            : vocab_.find(word.substr(begin, end - begin));
  }
  std::string symbol = prefixed ? options_.continuing_subword_prefix : "";
  symbol += word.substr(begin, end - begin);
  if (suffixed) symbol += options_.end_of_word_suffix;
  return vocab_.find(symbol);
}

void Bpe::spell_characters(std::string_view word, std::vector<Symbol>& symbols) const {
  uint32_t unknown = 0;  // bytes of an unknown token that has not been written
  const auto flush = [&] {
    if (unknown > 0) add_symbol(unk_, unknown, symbols);
    unknown = 0;
  };
  for (size_t at = 0; at < word.size();) {
    const auto begin = at;
    next_code_point(word, at);
    const auto length = static_cast<uint32_t>(at - begin);
    if (const auto id = character(word, begin, at); id >= 0) {
      flush();
      add_symbol(id, length, symbols);
      continue;
    }
    const auto spelled = word.substr(begin, length);
    const auto has_byte = [&](char c) { return fallback_[static_cast<uint8_t>(c)] >= 0; };
    if (options_.byte_fallback && std::ranges::all_of(spelled, has_byte)) {
      // As in Hugging Face, an unknown token in front waits.
      for (const char c : spelled) add_symbol(fallback_[static_cast<uint8_t>(c)], 1, symbols);
    } else if (unk_ >= 0) {
      if (!options_.fuse_unk) flush();
      unknown += length;
    }
  }
  flush();
}

// Bytes that the vocabulary lacks are left out, and Hugging Face then counts the spans of the
// tokens in the text as if those bytes were at its end, in UTF-8 of the byte alphabet. Offsets are
// to be equal, so it is done here too.
void Bpe::shift_spans(std::string_view word, size_t begin, std::vector<Token>& tokens,
                      size_t first) const {
  std::vector<uint32_t> owner;       // byte of the word, for each byte of its spelling
  std::vector<uint32_t> kept = {0};  // length of the spelling of the first i bytes that are kept
  for (uint32_t i = 0; i < word.size(); ++i) {
    const auto byte = static_cast<uint8_t>(word[i]);
    const auto length = byte_symbol(byte).size();
    owner.insert(owner.end(), length, i);
    if ((i + 1 < word.size() ? bytes_ : last_bytes_)[byte] >= 0)
      kept.push_back(kept.back() + static_cast<uint32_t>(length));
  }
  for (auto token = tokens.begin() + first; token != tokens.end(); ++token) {
    token->begin = begin + owner[kept[token->begin - begin]];
    token->end = begin + owner[kept[token->end - begin] - 1] + 1;
  }
}

void Bpe::tokenize(std::string_view text, Piece piece, std::vector<Token>& out) const {
  if (!splits_) return tokenize_word(text, piece, out);
  const auto part = text.substr(0, piece.end);
  for (auto begin = piece.begin; begin < piece.end;) {
    const auto end = std::min(part.find(kMetaspace, behind_metaspaces(part, begin)), piece.end);
    tokenize_word(text, {begin, end}, out);
    begin = end;
  }
}

void Bpe::tokenize_word(std::string_view text, Piece piece, std::vector<Token>& out) const {
  const auto word = text.substr(piece.begin, piece.end - piece.begin);
  if (cache_.find(word, piece.begin, out)) return;
  const auto first = out.size();
  int32_t whole = options_.whole.empty() ? -1 : whole_.find(word);
  if (options_.ignore_merges) {
    std::string symbols;
    if (options_.bytes)
      for (const char c : word) symbols += byte_symbol(static_cast<uint8_t>(c));
    whole = vocab_.find(options_.bytes ? symbols : word);
  }
  if (whole >= 0) {
    out.push_back({whole, piece.begin, piece.end});
  } else {
    static thread_local std::vector<Symbol> symbols;
    symbols.clear();
    bool skipped = false;
    if (options_.bytes) {
      skipped = spell_bytes(word, symbols);
    } else {
      spell_characters(word, symbols);
    }
    merge_symbols(symbols, [&](const Symbol& left, const Symbol& right) {
      return table_.find(left.id, right.id);
    });
    for (int32_t at = symbols.empty() ? -1 : 0; at >= 0; at = symbols[at].next) {
      const auto begin = piece.begin + symbols[at].begin;
      out.push_back({symbols[at].id, begin, begin + symbols[at].length});
    }
    if (skipped) shift_spans(word, piece.begin, out, first);
  }
  cache_.store(word, piece.begin, out, first);
}

std::optional<int64_t> Bpe::id(std::string_view token) const {
  const auto found = vocab_.find(token);
  return found < 0 ? std::nullopt : std::optional<int64_t>(found);
}

json Bpe::to_json() const {
  auto merges = json::array();
  for (const auto& [left, right] : merges_) merges.push_back({left, right});
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", options_.unk_token ? json(*options_.unk_token) : json()},
          {"continuing_subword_prefix", options_.continuing_subword_prefix.empty()
                                            ? json()
                                            : json(options_.continuing_subword_prefix)},
          {"end_of_word_suffix",
           options_.end_of_word_suffix.empty() ? json() : json(options_.end_of_word_suffix)},
          {"fuse_unk", options_.fuse_unk},
          {"byte_fallback", options_.byte_fallback},
          {"ignore_merges", options_.ignore_merges},
          {"vocab", vocab_.to_json()},
          {"merges", std::move(merges)}};
}

Bpe::Merges read_merges(const json& list, const Where& where) {
  if (!list.is_array())
    fail_at(where, fmt::format("expected an array, found {}", list.type_name()));
  if (list.size() > static_cast<size_t>(kMaxMerges))
    fail_at(where, fmt::format("{} merges, more than the limit of {}", list.size(), kMaxMerges));
  Bpe::Merges merges;
  merges.reserve(list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    const auto& entry = list[i];
    if (entry.is_string()) {
      const auto text = entry.get<std::string>();
      const auto space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos)
        fail_at(where.at(i), fmt::format("expected two tokens and a space, found '{}'", text));
      merges.emplace_back(text.substr(0, space), text.substr(space + 1));
    } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() &&
               entry[1].is_string()) {
      merges.emplace_back(entry[0].get<std::string>(), entry[1].get<std::string>());
    } else {
      fail_at(where.at(i), "expected \"a b\" or [\"a\", \"b\"]");
    }
  }
  return merges;
}

}  // namespace weft::tokenizers
