#include "tokenizers/spm.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <unordered_map>

#include <fmt/format.h>

#include "core/fail.hpp"
#include "tokenizers/metaspace.hpp"
#include "tokenizers/unicode.hpp"
#include "tokenizers/unigram.hpp"

namespace weft::tokenizers {
namespace {

constexpr float kUnkPenalty = 10;

// Whether a text may name the piece.
bool in_text(SpmPiece::Type type) {
  return type == SpmPiece::normal || type == SpmPiece::user_defined || type == SpmPiece::unused;
}

size_t total_bytes(const SpmFile& file) {
  size_t out = 0;
  for (const auto& piece : file.pieces) out += piece.piece.size();
  return out;
}

}  // namespace

SpmModel::SpmModel(SpmFile file) : file_(std::move(file)) {
  const auto& pieces = file_.pieces;
  ids_.reserve(pieces.size());
  bool mark = false;
  splits_ = !file_.whitespace_as_suffix && file_.normalizer.escape_whitespaces;
  for (size_t id = 0; id < pieces.size(); ++id) {
    const auto& [piece, score, type] = pieces[id];
    ids_.insert(piece, static_cast<int32_t>(id));
    if (type == SpmPiece::unknown) unk_ = static_cast<int32_t>(id);
    if (!in_text(type)) continue;
    longest_ = std::max(longest_, piece.size());
    mark |= piece == kMetaspace && type == SpmPiece::normal;
    if (piece.find(kMetaspace, behind_metaspaces(piece, 0)) != std::string::npos) splits_ = false;
  }
  splits_ &= mark;
  for (int byte = 0; byte < 256; ++byte)
    bytes_.push_back(ids_.find(fmt::format("<0x{:02X}>", byte)));
}

std::optional<int64_t> SpmModel::id(std::string_view token) const {
  const auto found = ids_.find(token);
  return found < 0 ? std::nullopt : std::optional<int64_t>(found);
}

const std::string* SpmModel::token(int64_t id) const {
  return id >= 0 && id < size() ? &file_.pieces[id].piece : nullptr;
}

json SpmModel::to_json() const { return nullptr; }

void SpmModel::emit(std::string_view text, size_t begin, size_t end, int32_t id,
                    std::vector<Token>& out) const {
  if (id != unk_) return out.push_back({id, begin, end});
  if (file_.byte_fallback) {
    for (const char c : text.substr(begin, end - begin)) {
      const auto byte = bytes_[static_cast<uint8_t>(c)];
      out.push_back({byte < 0 ? unk_ : byte, begin, end});
    }
  } else if (!out.empty() && out.back().id == unk_ && out.back().end == begin) {
    out.back().end = end;
  } else {
    out.push_back({unk_, begin, end});
  }
}

size_t SpmModel::word_end(std::string_view text, size_t at, size_t end) const {
  return splits_ ? std::min(text.find(kMetaspace, behind_metaspaces(text, at)), end) : end;
}

SpmUnigram::SpmUnigram(SpmFile file) : SpmModel(std::move(file)), trie_(total_bytes(file_)) {
  auto lowest = std::numeric_limits<float>::max();
  highest_ = std::numeric_limits<float>::lowest();
  for (size_t id = 0; id < file_.pieces.size(); ++id) {
    const auto& piece = file_.pieces[id];
    if (piece.type == SpmPiece::normal) {
      lowest = std::min(lowest, piece.score);
      highest_ = std::max(highest_, piece.score);
    }
    if (in_text(piece.type) && piece.type != SpmPiece::unused)
      trie_.insert(piece.piece, static_cast<int32_t>(id));
  }
  unk_score_ = lowest - kUnkPenalty;
}

void SpmUnigram::tokenize(std::string_view text, Piece piece, std::vector<Token>& out) const {
  static thread_local std::vector<Token> path;
  const auto part = text.substr(0, piece.end);
  // Word after word, with the sum of all so far: rounding is that of one pass.
  float sum = 0;
  const auto score = [&](int32_t id, size_t length) -> float {
    if (type(id) != SpmPiece::user_defined) return file_.pieces[id].score;
    return static_cast<float>(static_cast<float>(length) * highest_ - 0.1);
  };
  for (auto begin = piece.begin; begin < piece.end;) {
    const auto end = word_end(part, begin, piece.end);
    path.clear();
    best_path(trie_, part, begin, end, score, unk_score_, unk_, sum,
              [&](size_t from, size_t to, int32_t id) {
                path.push_back({id, from, to});
              });
    for (auto token = path.rbegin(); token != path.rend(); ++token)
      emit(text, token->begin, token->end, static_cast<int32_t>(token->id), out);
    begin = end;
  }
}

SpmBpe::SpmBpe(SpmFile file) : SpmModel(std::move(file)) {
  const auto& pieces = file_.pieces;
  std::vector<size_t> order(pieces.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return pieces[a].score > pieces[b].score; });
  ranks_.resize(pieces.size());
  uint32_t rank = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && pieces[order[i]].score < pieces[order[i - 1]].score) ++rank;
    ranks_[order[i]] = rank;
  }
  size_t user_bytes = 0;
  for (const auto& piece : pieces)
    if (piece.type == SpmPiece::user_defined) user_bytes += piece.piece.size();
  user_defined_ = Trie(user_bytes);
  mergeable_.reserve(pieces.size());
  for (size_t id = 0; id < pieces.size(); ++id) {
    const auto& piece = pieces[id];
    if (in_text(piece.type)) mergeable_.insert(piece.piece, static_cast<int32_t>(id));
    has_unused_ |= piece.type == SpmPiece::unused;
    if (piece.type == SpmPiece::user_defined)
      user_defined_.insert(piece.piece, static_cast<int32_t>(id));
  }
}

void SpmBpe::tokenize(std::string_view text, Piece piece, std::vector<Token>& out) const {
  const auto part = text.substr(0, piece.end);
  for (auto begin = piece.begin; begin < piece.end;) {
    const auto end = word_end(part, begin, piece.end);
    tokenize_word(text, {begin, end}, out);
    begin = end;
  }
}

void SpmBpe::tokenize_word(std::string_view text, Piece piece, std::vector<Token>& out) const {
  const auto word = text.substr(piece.begin, piece.end - piece.begin);
  if (cache_.find(word, piece.begin, out)) return;
  // A symbol's id is that of its piece, -1 - id for one that stays as it is.
  static thread_local std::vector<Symbol> symbols;
  symbols.clear();
  constexpr int32_t kUnknown = std::numeric_limits<int32_t>::min();
  for (size_t at = 0; at < word.size();) {
    size_t length = 0;
    int32_t whole = -1;
    user_defined_.each_prefix(word.substr(at), [&](size_t found, int32_t id) {
      length = found;
      whole = id;
    });
    const auto begin = at;
    if (length) {
      at += length;
      add_symbol(-1 - whole, static_cast<uint32_t>(length), symbols);
    } else {
      next_code_point(word, at);
      const auto id = ids_.find(word.substr(begin, at - begin));
      add_symbol(id < 0 ? kUnknown : id, static_cast<uint32_t>(at - begin), symbols);
    }
  }
  // Pieces that encoding does not use, by their span, and what they were merged of.
  struct Undo {
    uint32_t middle;
    int32_t left, right;
  };
  std::unordered_map<uint64_t, Undo> undone;
  const auto span = [](uint32_t begin, uint32_t end) {
    return static_cast<uint64_t>(begin) << 32 | end;
  };
  merge_symbols(symbols, [&](const Symbol& left, const Symbol& right) -> Merge {
    const auto frozen = [](int32_t id) { return id < 0 && id != kUnknown; };
    const auto length = left.length + right.length;
    if (length > longest_ || frozen(left.id) || frozen(right.id)) return {};
    const auto id = mergeable_.find(word.substr(left.begin, length));
    if (id < 0) return {};
    if (has_unused_ && type(id) == SpmPiece::unused)
      undone[span(left.begin, left.begin + length)] = {right.begin, left.id, right.id};
    return {ranks_[id], id};
  });
  const auto first = out.size();
  std::vector<Symbol> rest;
  for (int32_t at = symbols.empty() ? -1 : 0; at >= 0; at = symbols[at].next) {
    rest.assign(1, symbols[at]);
    while (!rest.empty()) {
      const auto symbol = rest.back();
      rest.pop_back();
      const auto begin = piece.begin + symbol.begin, end = begin + symbol.length;
      if (symbol.id < 0) {
        emit(text, begin, end, symbol.id == kUnknown ? unk_ : -1 - symbol.id, out);
        continue;
      }
      if (type(symbol.id) == SpmPiece::unused) {
        const auto last = symbol.begin + symbol.length;
        if (const auto found = undone.find(span(symbol.begin, last)); found != undone.end()) {
          const auto [middle, left, right] = found->second;
          rest.push_back({right, -1, -1, last - middle, middle});
          rest.push_back({left, -1, -1, middle - symbol.begin, symbol.begin});
          continue;
        }
      }
      emit(text, begin, end, symbol.id, out);
    }
  }
  cache_.store(word, piece.begin, out, first);
}

}  // namespace weft::tokenizers
