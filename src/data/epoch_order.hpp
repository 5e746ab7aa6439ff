#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include <ATen/core/Tensor.h>

#include "data/shard_set.hpp"

namespace weft::data {

/// The order of one epoch, from (seed, epoch) and the shards' sizes alone. Shuffled: shards are
/// permuted, their samples follow each other through a buffer from which one is drawn at a time.
class EpochOrder {
 public:
  EpochOrder(std::vector<uint32_t> sizes, bool shuffle, int64_t buffer, int64_t seed);

  void start(int64_t epoch);
  /// Nothing at the end of the epoch.
  std::optional<SampleRef> next();
  /// Costs nanoseconds a sample: only numbers are drawn.
  void skip(int64_t count);
  int64_t position() const { return position_; }

 private:
  std::optional<SampleRef> next_in_sequence();
  uint64_t below(uint64_t limit);

  std::vector<uint32_t> sizes_, shards_;
  bool shuffle_;
  size_t capacity_;
  int64_t seed_, position_ = 0;
  size_t shard_ = 0;
  uint32_t sample_ = 0;
  std::vector<SampleRef> buffer_;
  std::mt19937_64 random_;
};

/// A well-mixed number from two (splitmix64's finaliser; Steele et al., 2014), for seeds that
/// depend on a place.
uint64_t mixed(uint64_t a, uint64_t b);

/// [count] int64: a permutation of 0 .. count - 1 that depends on (seed, epoch) alone.
at::Tensor permutation(int64_t count, int64_t seed, int64_t epoch);

}  // namespace weft::data
