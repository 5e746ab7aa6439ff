#include "data/cursor.hpp"

#include "core/fail.hpp"

namespace weft::data {

Cursor::Cursor(const ShardSet& shards, const CursorOptions& options)
    : options_(options),
      size_(shards.size()),
      fingerprint_(shards.fingerprint()),
      order_(shards.sizes(), options.shuffle, options.shuffle_buffer, options.seed) {
  if (options.shuffle_buffer < 1)
    fail(ErrorKind::usage, "shuffle_buffer: expected at least 1, found {}", options.shuffle_buffer);
  if (options.epochs < 0)
    fail(ErrorKind::usage, "epochs: expected 0 (without end) or more, found {}", options.epochs);
}

Cursor::Place Cursor::place() const {
  if (order_.position() == size_) return {epoch_ + 1, 0};
  return {epoch_, order_.position()};
}

std::optional<SampleRef> Cursor::next() {
  if (finished()) return std::nullopt;
  if (order_.position() == size_) order_.start(++epoch_);
  return order_.next();
}

void Cursor::move_to(const Place& place) {
  epoch_ = place.epoch;
  order_.start(epoch_);
  order_.skip(place.position);
}

Json Cursor::state(const Place& place) const {
  return Json::object({{"epoch", place.epoch},
                       {"position", place.position},
                       {"samples", size_},
                       {"data", fingerprint_},
                       {"seed", options_.seed},
                       {"shuffle", options_.shuffle},
                       {"shuffle_buffer", options_.shuffle_buffer}});
}

Cursor::Place Cursor::restore(const Json& state) {
  const auto own = this->state({});
  for (const char* key : {"samples", "data", "seed", "shuffle", "shuffle_buffer"}) {
    if (state.at(key) == own.at(key)) continue;
    fail(
        "data position: was saved with {} = {}, but this run has {}; the order of samples would "
        "differ. Resume with the same shards and options, or start anew",
        key, state.at(key).dump(), own.at(key).dump());
  }
  const Place place{state.at("epoch").as_int(), state.at("position").as_int()};
  if (place.epoch < 0 || place.position < 0 || place.position >= size_)
    fail("data position: expected a sample from 0 to {}, found {} in epoch {}", size_ - 1,
         place.position, place.epoch);
  move_to(place);
  return place;
}

}  // namespace weft::data
