#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace weft::tokenizers {

/// A token of a word that is being merged.
struct Symbol {
  int32_t id;
  int32_t previous, next;  // -1: none
  uint32_t length;         // bytes; 0: merged away
  uint32_t begin;          // bytes before it
};

/// Which pair of symbols becomes which id, and when.
struct Merge {
  uint32_t rank = 0;
  int32_t id = -1;  ///< -1: no such merge
};

/// Appends to a chain of symbols.
inline void add_symbol(int32_t id, uint32_t length, std::vector<Symbol>& symbols) {
  const auto at = static_cast<int32_t>(symbols.size());
  const auto begin = symbols.empty() ? 0 : symbols.back().begin + symbols.back().length;
  if (at > 0) symbols.back().next = at;
  symbols.push_back({id, at - 1, -1, length, begin});
}

/// Merges pairs until none is left: that of the lowest rank first, the leftmost of them.
/// find(left, right) -> Merge of two neighbours. O(n log n).
template <class Find>
void merge_symbols(std::vector<Symbol>& symbols, Find&& find) {
  struct Candidate {
    uint32_t rank;
    int32_t at;            // the left symbol
    uint32_t left, right;  // their lengths
    int32_t id;
    bool operator<(const Candidate& other) const {  // the heap's top is the largest
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  static thread_local std::vector<Candidate> heap;
  heap.clear();
  const auto propose = [&](int32_t left) {
    const auto& symbol = symbols[left];
    if (symbol.next < 0) return false;
    const auto& right = symbols[symbol.next];
    const Merge found = find(symbol, right);
    if (found.id < 0) return false;
    heap.push_back({found.rank, left, symbol.length, right.length, found.id});
    return true;
  };
  for (int32_t at = 0; at + 1 < static_cast<int32_t>(symbols.size()); ++at) propose(at);
  std::make_heap(heap.begin(), heap.end());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const auto best = heap.back();
    heap.pop_back();
    auto& left = symbols[best.at];
    // A symbol that has changed has become longer.
    if (left.length != best.left || left.next < 0) continue;
    auto& right = symbols[left.next];
    if (right.length != best.right) continue;
    left.id = best.id;
    left.length += right.length;
    left.next = right.next;
    right.length = 0;
    if (left.next >= 0) symbols[left.next].previous = best.at;
    if (left.previous >= 0 && propose(left.previous)) std::push_heap(heap.begin(), heap.end());
    if (propose(best.at)) std::push_heap(heap.begin(), heap.end());
  }
}

}  // namespace weft::tokenizers
