#include <weft/data/stream.hpp>

#include "core/fail.hpp"
#include "data/cursor.hpp"

namespace weft::data {

struct SampleStream::Impl {
  explicit Impl(const SampleStreamOptions& o)
      : options(o),
        shards(o.shards, {o.needs_image, o.needs_caption, o.may_be_empty}, bad),
        cursor(shards, {o.shuffle, o.shuffle_buffer, o.seed, o.epochs}) {}

  SampleStreamOptions options;
  BadData bad;
  ShardSet shards;
  Cursor cursor;
};

SampleStream::SampleStream(const SampleStreamOptions& options)
    : impl_(std::make_unique<Impl>(options)) {}
SampleStream::~SampleStream() = default;

std::optional<Sample> SampleStream::next() {
  while (const auto ref = impl_->cursor.next()) {
    try {
      return impl_->shards.read(*ref);
    } catch (const BadSample& error) {
      impl_->bad.add(error.cause(), impl_->shards.path(*ref), impl_->shards.offset(*ref),
                     error.what());
    }
  }
  return std::nullopt;
}

int64_t SampleStream::size() const { return impl_->shards.size(); }
int64_t SampleStream::epoch() const { return impl_->cursor.place().epoch; }
const BadData& SampleStream::bad() const { return impl_->bad; }

Json SampleStream::state() const {
  return impl_->cursor.state(impl_->cursor.place()).set("bad", impl_->bad.state());
}

void SampleStream::restore(const Json& state) {
  impl_->cursor.restore(state);
  BadData bad;
  bad.restore(state.at("bad"));
  impl_->bad.add(bad);
}

}  // namespace weft::data
