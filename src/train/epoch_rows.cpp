#include <weft/train/epoch_rows.hpp>

#include "core/fail.hpp"
#include "data/epoch_order.hpp"

namespace weft::train {

EpochRows::EpochRows(int64_t rows, int64_t batch_size, int64_t seed)
    : rows_(rows), batch_size_(batch_size), seed_(seed) {
  if (batch_size < 1 || batch_size > rows)
    fail("a batch of {} samples cannot be made from {}: choose a smaller --batch-size", batch_size,
         rows);
  shuffle();
}

void EpochRows::shuffle() { order_ = data::permutation(rows_, seed_, epoch_); }

Tensor EpochRows::batch() const { return order_.narrow(0, position_ * batch_size_, batch_size_); }

void EpochRows::advance(StepResult& out) {
  out.samples = batch_size_;
  out.epoch_end = ++position_ == batches();
  out.epoch =
      static_cast<double>(epoch_) + static_cast<double>(position_) / static_cast<double>(batches());
  if (!out.epoch_end) return;
  ++epoch_;
  position_ = 0;
  shuffle();
}

Json EpochRows::state() const {
  return Json::object({{"epoch", epoch_},
                       {"batch", position_},
                       {"samples", rows_},
                       {"batch_size", batch_size_},
                       {"seed", seed_}});
}

void EpochRows::restore(const Json& state) {
  const auto same = [&](const char* what, int64_t now) {
    const auto then = state.at(what).as_int();
    if (then != now)
      fail("the checkpoint was made with {} {}, this run has {}; resume with what it was made with",
           what, then, now);
  };
  same("samples", rows_);
  same("batch_size", batch_size_);
  same("seed", seed_);
  epoch_ = state.at("epoch").as_int();
  position_ = state.at("batch").as_int();
  shuffle();
}

}  // namespace weft::train
