#include "data/epoch_order.hpp"

#include <numeric>
#include <utility>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/randperm.h>

namespace weft::data {

uint64_t mixed(uint64_t a, uint64_t b) {
  auto x = a + 0x9e3779b97f4a7c15ull * (b + 1);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

EpochOrder::EpochOrder(std::vector<uint32_t> sizes, bool shuffle, int64_t buffer, int64_t seed)
    : sizes_(std::move(sizes)),
      shards_(sizes_.size()),
      shuffle_(shuffle),
      capacity_(static_cast<size_t>(buffer)),
      seed_(seed) {
  start(0);
}

void EpochOrder::start(int64_t epoch) {
  std::iota(shards_.begin(), shards_.end(), 0u);
  buffer_.clear();
  shard_ = 0, sample_ = 0, position_ = 0;
  if (!shuffle_) return;
  random_.seed(mixed(static_cast<uint64_t>(seed_), static_cast<uint64_t>(epoch)));
  for (size_t i = shards_.size(); i > 1; --i) std::swap(shards_[i - 1], shards_[below(i)]);
}

// Not std::uniform_int_distribution, whose numbers differ between standard libraries.
uint64_t EpochOrder::below(uint64_t limit) {
  const auto bound = UINT64_MAX - UINT64_MAX % limit;
  for (;;)
    if (const auto x = random_(); x < bound) return x % limit;
}

std::optional<SampleRef> EpochOrder::next_in_sequence() {
  while (shard_ < shards_.size() && sample_ >= sizes_[shards_[shard_]]) ++shard_, sample_ = 0;
  if (shard_ == shards_.size()) return std::nullopt;
  return SampleRef{shards_[shard_], sample_++};
}

std::optional<SampleRef> EpochOrder::next() {
  if (!shuffle_) {
    const auto ref = next_in_sequence();
    position_ += ref.has_value();
    return ref;
  }
  while (buffer_.size() < capacity_) {
    const auto ref = next_in_sequence();
    if (!ref) break;
    buffer_.push_back(*ref);
  }
  if (buffer_.empty()) return std::nullopt;
  auto& drawn = buffer_[below(buffer_.size())];
  const auto out = drawn;
  drawn = buffer_.back();
  buffer_.pop_back();
  ++position_;
  return out;
}

void EpochOrder::skip(int64_t count) {
  for (int64_t i = 0; i < count && next(); ++i) {
  }
}

at::Tensor permutation(int64_t count, int64_t seed, int64_t epoch) {
  auto generator = at::detail::createCPUGenerator(mixed(static_cast<uint64_t>(seed), 0) ^
                                                  mixed(static_cast<uint64_t>(epoch), 0));
  return at::randperm(count, generator, at::kLong);
}

}  // namespace weft::data
