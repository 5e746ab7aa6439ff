#include "tokenizers/word_cache.hpp"

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>

#include "tokenizers/vocab.hpp"

namespace weft::tokenizers {
namespace {

std::atomic<uint64_t> next_serial{1};

// One cache line of what a short piece becomes.
struct alignas(64) Entry {
  static constexpr size_t kBytes = 18, kIds = 6;
  uint64_t owner = 0;
  uint8_t size = 0, count = 0;
  std::array<char, kBytes> bytes{};
  std::array<uint8_t, kIds> begins{}, ends{};
  std::array<int32_t, kIds> ids{};
};
static_assert(sizeof(Entry) == 64);

constexpr int kBits = 14;
using Entries = std::vector<Entry>;

// The tables of threads that have ended, for those that come: a batch on several threads finds the
// words of the batch before.
struct Spare {
  std::mutex mutex;
  std::vector<std::unique_ptr<Entries>> tables;
};

Spare& spare() {
  static Spare instance;
  return instance;
}

class ThreadTable {
 public:
  ThreadTable() {
    auto& pool = spare();
    const std::lock_guard lock(pool.mutex);
    if (pool.tables.empty()) {
      table_ = std::make_unique<Entries>(size_t{1} << kBits);
    } else {
      table_ = std::move(pool.tables.back());
      pool.tables.pop_back();
    }
  }
  ~ThreadTable() {
    auto& pool = spare();
    const std::lock_guard lock(pool.mutex);
    pool.tables.push_back(std::move(table_));
  }
  ThreadTable(const ThreadTable&) = delete;
  ThreadTable& operator=(const ThreadTable&) = delete;

  Entry& at(uint64_t hash) { return (*table_)[(hash * 0x9E3779B97F4A7C15u) >> (64 - kBits)]; }

 private:
  std::unique_ptr<Entries> table_;
};

Entry& entry(std::string_view word, uint64_t serial) {
  static thread_local ThreadTable table;
  return table.at(TextTable::hash(word) ^ serial);
}

}  // namespace

WordCache::WordCache() : serial_(next_serial++) {}

bool WordCache::find(std::string_view word, size_t begin, std::vector<Token>& out) const {
  if (word.size() > Entry::kBytes) return false;
  const auto& known = entry(word, serial_);
  if (known.owner != serial_ || known.size != word.size() ||
      std::memcmp(known.bytes.data(), word.data(), word.size()))
    return false;
  for (uint8_t i = 0; i < known.count; ++i)
    out.push_back({known.ids[i], begin + known.begins[i], begin + known.ends[i]});
  return true;
}

void WordCache::store(std::string_view word, size_t begin, const std::vector<Token>& tokens,
                      size_t first) const {
  const auto count = tokens.size() - first;
  if (word.size() > Entry::kBytes || count > Entry::kIds) return;
  auto& known = entry(word, serial_);
  known.owner = serial_;
  known.size = static_cast<uint8_t>(word.size());
  known.count = static_cast<uint8_t>(count);
  std::memcpy(known.bytes.data(), word.data(), word.size());
  for (size_t i = 0; i < count; ++i) {
    const auto& token = tokens[first + i];
    known.ids[i] = static_cast<int32_t>(token.id);
    known.begins[i] = static_cast<uint8_t>(token.begin - begin);
    known.ends[i] = static_cast<uint8_t>(token.end - begin);
  }
}

}  // namespace weft::tokenizers
