#pragma once

#include <string>

#include <weft/core/json.hpp>

#include "data/epoch_order.hpp"

namespace weft::data {

struct CursorOptions {
  bool shuffle = true;
  int64_t shuffle_buffer = 10'000;
  int64_t seed = 0;
  int64_t epochs = 1;  ///< 0 = without end
};

/// Walks over the epochs of a ShardSet.
class Cursor {
 public:
  struct Place {
    int64_t epoch = 0;
    int64_t position = 0;  ///< samples of the epoch that were taken
  };

  Cursor(const ShardSet& shards, const CursorOptions& options);

  /// Crosses from one epoch to the next; nothing after the last.
  std::optional<SampleRef> next();
  /// Of what next() gives; normal: position is below the epoch's size.
  Place place() const;
  bool finished() const { return options_.epochs > 0 && place().epoch >= options_.epochs; }
  void move_to(const Place& place);

  Json state(const Place& place) const;
  /// Error where the data, the seed or the shuffling of `state` differ.
  Place restore(const Json& state);

 private:
  CursorOptions options_;
  int64_t size_;
  std::string fingerprint_;
  EpochOrder order_;
  int64_t epoch_ = 0;
};

}  // namespace weft::data
