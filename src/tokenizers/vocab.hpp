#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace weft::tokenizers {

/// Text -> id in one flat array (open addressing). The hash is a polynomial over the bytes, so that
/// the hashes of all prefixes of a word cost one pass.
class TextTable {
 public:
  static constexpr uint64_t kSeed = 0x9E3779B97F4A7C15u;
  static uint64_t extend(uint64_t hash, char byte) {
    return (hash ^ static_cast<uint8_t>(byte)) * 0x100000001B3u;
  }
  static uint64_t hash(std::string_view text) {
    auto value = kSeed;
    for (const char c : text) value = extend(value, c);
    return value;
  }

  void reserve(size_t count) {
    size_t slots = 16;
    while (slots < 2 * count) slots *= 2;
    slots_.assign(slots, {});
    shift_ = 64;
    while (slots >>= 1) --shift_;
  }
  /// `reserve` must have been called with at least the number of entries. A text that is there
  /// already keeps its id.
  void insert(std::string_view text, int32_t id) {
    const auto value = hash(text);
    auto at = place(value);
    while (slots_[at].id >= 0) {
      if (matches(slots_[at], value, text)) return;
      at = (at + 1) & (slots_.size() - 1);
    }
    slots_[at] = {static_cast<uint32_t>(value >> 32), static_cast<uint32_t>(bytes_.size()),
                  static_cast<uint32_t>(text.size()), id};
    bytes_ += text;
  }
  /// -1 where the text is absent; value = hash(text).
  int32_t find(std::string_view text, uint64_t value) const {
    if (slots_.empty()) return -1;
    for (auto at = place(value); slots_[at].id >= 0; at = (at + 1) & (slots_.size() - 1)) {
      if (matches(slots_[at], value, text)) return slots_[at].id;
    }
    return -1;
  }
  int32_t find(std::string_view text) const { return find(text, hash(text)); }

 private:
  struct Slot {
    uint32_t hash = 0, begin = 0, size = 0;
    int32_t id = -1;
  };
  size_t place(uint64_t value) const { return (value * 0x9E3779B97F4A7C15u) >> shift_; }
  bool matches(const Slot& slot, uint64_t value, std::string_view text) const {
    return slot.hash == static_cast<uint32_t>(value >> 32) && slot.size == text.size() &&
           !std::memcmp(bytes_.data() + slot.begin, text.data(), text.size());
  }

  std::vector<Slot> slots_;
  std::string bytes_;
  int shift_ = 64;
};

/// Tokens and their ids, both ways.
class Vocab {
 public:
  explicit Vocab(const std::vector<std::pair<std::string, int64_t>>& tokens) {
    ids_.reserve(tokens.size());
    for (const auto& [token, id] : tokens) {
      ids_.insert(token, static_cast<int32_t>(id));
      if (static_cast<size_t>(id) >= tokens_.size()) tokens_.resize(id + 1), known_.resize(id + 1);
      tokens_[id] = token;
      known_[id] = true;
    }
    size_ = static_cast<int64_t>(tokens.size());
  }
  int64_t size() const { return size_; }
  int32_t find(std::string_view token) const { return ids_.find(token); }
  const std::string* token(int64_t id) const {
    return id >= 0 && static_cast<size_t>(id) < tokens_.size() && known_[id] ? &tokens_[id]
                                                                             : nullptr;
  }
  nlohmann::json to_json() const {
    auto out = nlohmann::json::object();
    for (size_t id = 0; id < tokens_.size(); ++id) {
      if (known_[id]) out[tokens_[id]] = id;
    }
    return out;
  }

 private:
  TextTable ids_;
  std::vector<std::string> tokens_;
  std::vector<bool> known_;
  int64_t size_ = 0;
};

}  // namespace weft::tokenizers
