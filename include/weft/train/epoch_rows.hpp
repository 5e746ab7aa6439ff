#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/core/json.hpp>
#include <weft/train/trainer.hpp>

namespace weft::train {

/// The order of training on rows that are in memory: each epoch is a new permutation of all rows,
/// which depends on (seed, epoch) alone, in batches, less the incomplete one at its end.
class WEFT_API EpochRows {
 public:
  /// Throws Error where a batch is larger than the data.
  EpochRows(int64_t rows, int64_t batch_size, int64_t seed);

  Tensor batch() const;  ///< [batch_size] int64, the rows of the batch that comes next
  int64_t epoch() const { return epoch_; }                 ///< of that batch
  int64_t batches() const { return rows_ / batch_size_; }  ///< in an epoch
  /// Moves past that batch, and puts into `out` all that a step says of it but the loss.
  void advance(StepResult& out);

  Json state() const;
  /// Error where the rows, the batches or the seed differ.
  void restore(const Json& state);

 private:
  void shuffle();

  int64_t rows_, batch_size_, seed_;
  int64_t epoch_ = 0, position_ = 0;  // batches taken from this epoch
  Tensor order_;                      // [rows] of this epoch
};

}  // namespace weft::train
