#include "tokenizers/bpe.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <queue>

#include <fmt/format.h>

#include "tokenizers/byte_level.hpp"

namespace weft::tokenizers {
namespace {

std::atomic<uint64_t> next_serial{1};

// One cache line of what a short piece becomes.
struct alignas(64) Cached {
  static constexpr size_t kBytes = 18, kIds = 6;
  uint64_t owner = 0;
  uint8_t size = 0, count = 0;
  std::array<char, kBytes> bytes{};
  std::array<uint8_t, kIds> begins{}, ends{};
  std::array<int32_t, kIds> ids{};
};
static_assert(sizeof(Cached) == 64);

constexpr int kCacheBits = 14;
using Cache = std::vector<Cached>;

// The caches of threads that have ended, for those that come: a batch on several threads finds the
// words of the batch before.
struct Spare {
  std::mutex mutex;
  std::vector<std::unique_ptr<Cache>> caches;
};

Spare& spare() {
  static Spare instance;
  return instance;
}

class ThreadCache {
 public:
  ThreadCache() {
    auto& pool = spare();
    const std::lock_guard lock(pool.mutex);
    if (pool.caches.empty()) {
      cache_ = std::make_unique<Cache>(size_t{1} << kCacheBits);
    } else {
      cache_ = std::move(pool.caches.back());
      pool.caches.pop_back();
    }
  }
  ~ThreadCache() {
    auto& pool = spare();
    const std::lock_guard lock(pool.mutex);
    pool.caches.push_back(std::move(cache_));
  }
  ThreadCache(const ThreadCache&) = delete;
  ThreadCache& operator=(const ThreadCache&) = delete;

  Cached& at(uint64_t hash) { return (*cache_)[(hash * 0x9E3779B97F4A7C15u) >> (64 - kCacheBits)]; }

 private:
  std::unique_ptr<Cache> cache_;
};

Cached& cached(uint64_t hash) {
  static thread_local ThreadCache cache;
  return cache.at(hash);
}

struct Symbol {
  int32_t id;
  int32_t previous, next;  // -1: none
  uint32_t length;         // 0: merged away
};

struct Candidate {
  uint32_t rank;
  int32_t at;  // the left symbol
  int32_t left, right, id;
  bool operator<(const Candidate& other) const {  // the heap's top is the largest
    return rank != other.rank ? rank > other.rank : at > other.at;
  }
};

}  // namespace

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
    : options_(options), vocab_(tokens), merges_(std::move(merges)), serial_(next_serial++) {
  for (int byte = 0; byte < 256; ++byte) {
    const auto& symbol = byte_symbol(static_cast<uint8_t>(byte));
    bytes_[byte] = vocab_.find(symbol);
    last_bytes_[byte] = vocab_.find(symbol + options_.end_of_word_suffix);
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
    table_.insert(a, b, {static_cast<uint32_t>(rank), known(left + right)});
  }
}

void Bpe::merge(std::string_view piece, std::vector<Part>& out) const {
  static thread_local std::vector<Symbol> symbols;
  static thread_local std::vector<Candidate> heap;
  symbols.clear();
  heap.clear();
  bool skipped = false;
  for (size_t i = 0; i < piece.size(); ++i) {
    const auto& table = i + 1 < piece.size() ? bytes_ : last_bytes_;
    auto id = table[static_cast<uint8_t>(piece[i])];
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
    const auto at = static_cast<int32_t>(symbols.size());
    symbols.push_back({id, at - 1, at + 1, 1});
  }
  if (symbols.empty()) return;
  symbols.back().next = -1;

  const auto propose = [&](int32_t left) {
    const auto& symbol = symbols[left];
    if (symbol.next < 0) return false;
    const auto right = symbols[symbol.next].id;
    const auto found = table_.find(symbol.id, right);
    if (found.id < 0) return false;
    heap.push_back({found.rank, left, symbol.id, right, found.id});
    return true;
  };
  for (int32_t at = 0; at + 1 < static_cast<int32_t>(symbols.size()); ++at) propose(at);
  std::make_heap(heap.begin(), heap.end());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const auto best = heap.back();
    heap.pop_back();
    auto& left = symbols[best.at];
    if (left.length == 0 || left.id != best.left || left.next < 0) continue;
    auto& right = symbols[left.next];
    if (right.id != best.right) continue;
    left.id = best.id;
    left.length += right.length;
    left.next = right.next;
    right.length = 0;
    if (left.next >= 0) symbols[left.next].previous = best.at;
    if (left.previous >= 0 && propose(left.previous)) std::push_heap(heap.begin(), heap.end());
    if (propose(best.at)) std::push_heap(heap.begin(), heap.end());
  }
  uint32_t begin = 0;
  for (int32_t at = 0; at >= 0; at = symbols[at].next) {
    out.push_back({symbols[at].id, begin, begin + symbols[at].length});
    begin += symbols[at].length;
  }
  if (skipped) shift_spans(piece, out);
}

// Bytes that the vocabulary lacks are left out, and Hugging Face then counts the spans of the
// tokens in the text as if those bytes were at its end, in UTF-8 of the byte alphabet. Offsets are
// to be equal, so it is done here too.
void Bpe::shift_spans(std::string_view piece, std::vector<Part>& parts) const {
  std::vector<uint32_t> owner;       // byte of the piece, for each byte of its spelling
  std::vector<uint32_t> kept = {0};  // length of the spelling of the first i bytes that are kept
  for (uint32_t i = 0; i < piece.size(); ++i) {
    const auto byte = static_cast<uint8_t>(piece[i]);
    const auto length = byte_symbol(byte).size();
    owner.insert(owner.end(), length, i);
    if ((i + 1 < piece.size() ? bytes_ : last_bytes_)[byte] >= 0)
      kept.push_back(kept.back() + static_cast<uint32_t>(length));
  }
  for (auto& part : parts) {
    part.begin = owner[kept[part.begin]];
    part.end = owner[kept[part.end] - 1] + 1;
  }
}

void Bpe::tokenize(std::string_view text, Piece piece, std::vector<Token>& out) const {
  const auto word = text.substr(piece.begin, piece.end - piece.begin);
  const auto emit = [&](int32_t id, size_t begin, size_t end) {
    out.push_back({id, piece.begin + begin, piece.begin + end});
  };
  const bool small = word.size() <= Cached::kBytes;
  Cached* slot = nullptr;
  if (small) {
    slot = &cached(TextTable::hash(word) ^ serial_);
    if (slot->owner == serial_ && slot->size == word.size() &&
        !std::memcmp(slot->bytes.data(), word.data(), word.size())) {
      for (uint8_t i = 0; i < slot->count; ++i) emit(slot->ids[i], slot->begins[i], slot->ends[i]);
      return;
    }
  }
  static thread_local std::vector<Part> parts;
  parts.clear();
  if (options_.ignore_merges) {
    std::string symbols;
    for (const char c : word) symbols += byte_symbol(static_cast<uint8_t>(c));
    const auto id = vocab_.find(symbols);
    if (id >= 0) parts.push_back({id, 0, static_cast<uint32_t>(word.size())});
  }
  if (!options_.whole.empty()) {
    if (const auto id = whole_.find(word); id >= 0)
      parts.push_back({id, 0, static_cast<uint32_t>(word.size())});
  }
  if (parts.empty()) merge(word, parts);
  for (const auto& part : parts) emit(part.id, part.begin, part.end);
  if (small && parts.size() <= Cached::kIds) {
    slot->owner = serial_;
    slot->size = static_cast<uint8_t>(word.size());
    slot->count = static_cast<uint8_t>(parts.size());
    std::memcpy(slot->bytes.data(), word.data(), word.size());
    for (size_t i = 0; i < parts.size(); ++i) {
      slot->ids[i] = parts[i].id;
      slot->begins[i] = static_cast<uint8_t>(parts[i].begin);
      slot->ends[i] = static_cast<uint8_t>(parts[i].end);
    }
  }
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
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix",
           options_.end_of_word_suffix.empty() ? json() : json(options_.end_of_word_suffix)},
          {"fuse_unk", options_.fuse_unk},
          {"byte_fallback", false},
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
