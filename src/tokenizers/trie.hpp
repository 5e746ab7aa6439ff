#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace weft::tokenizers {

/// Byte strings and their values (0 or more), found at the front of a text: a trie whose edges lie
/// in one open-addressing table.
class Trie {
 public:
  /// `bytes`: of all strings together; at most 2^31.
  explicit Trie(size_t bytes = 0) {
    size_t slots = 16;
    while (slots < 2 * bytes) slots *= 2;
    edges_.assign(slots, {});
    shift_ = 64;
    while (slots >>= 1) --shift_;
  }
  /// A string that is there gets the new value; the empty one is left out.
  void insert(std::string_view text, int32_t value) {
    if (text.empty()) return;
    uint32_t node = 0;
    for (const char c : text) {
      const auto key = key_of(node, c);
      auto at = place(key);
      while (edges_[at].node && edges_[at].key != key) at = (at + 1) & (edges_.size() - 1);
      if (!edges_[at].node) {
        edges_[at] = {key, static_cast<uint32_t>(values_.size())};
        values_.push_back(-1);
      }
      node = edges_[at].node;
    }
    values_[node] = value;
  }
  /// Calls take(length, value) for every string that `text` begins with, shortest first.
  template <class Take>
  void each_prefix(std::string_view text, Take&& take) const {
    uint32_t node = 0;
    for (size_t length = 1; length <= text.size(); ++length) {
      const auto key = key_of(node, text[length - 1]);
      auto at = place(key);
      while (edges_[at].node && edges_[at].key != key) at = (at + 1) & (edges_.size() - 1);
      node = edges_[at].node;
      if (!node) return;
      if (values_[node] >= 0) take(length, values_[node]);
    }
  }

 private:
  struct Edge {
    uint64_t key = 0;
    uint32_t node = 0;  // 0: an empty slot
  };
  static uint64_t key_of(uint32_t node, char c) {
    return static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(c);
  }
  size_t place(uint64_t key) const { return (key * 0x9E3779B97F4A7C15u) >> shift_; }

  std::vector<Edge> edges_;
  std::vector<int32_t> values_ = {-1};  // by node
  int shift_ = 64;
};

}  // namespace weft::tokenizers
