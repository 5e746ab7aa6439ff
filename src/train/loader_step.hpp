#pragma once

#include <algorithm>
#include <optional>

#include <weft/data/conversation_loader.hpp>
#include <weft/data/image_text.hpp>
#include <weft/train/trainer.hpp>

namespace weft::train {

inline int64_t samples_of(const data::ImageTextBatch& batch) { return batch.pixels.size(0); }
inline int64_t samples_of(const data::ConversationBatch& batch) { return batch.samples; }

/// The loader's next batch, and in `out` all that a step says of it but the loss.
template <class Loader>
auto take_batch(Loader& loader, StepResult& out) {
  const double waited = loader.wait_seconds();
  auto batch = loader.next();
  out.data_wait_seconds = loader.wait_seconds() - waited;
  if (!batch) return batch;
  out.samples = samples_of(*batch);
  out.epoch_end = batch->last;
  out.epoch = static_cast<double>(batch->epoch) +
              static_cast<double>(batch->index + 1) /
                  static_cast<double>(std::max<int64_t>(loader.batches(), 1));
  return batch;
}

}  // namespace weft::train
