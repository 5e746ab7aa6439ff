#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <weft/core/options.hpp>
#include <weft/data/bad_data.hpp>
#include <weft/data/sample.hpp>

namespace weft::data {

struct SampleStreamOptions {
  std::string shards = "";  ///< as io::expand_paths: braces, wildcards, '::'
  bool shuffle = false;     ///< shards by epoch, then samples through a buffer
  int64_t shuffle_buffer = 10'000;
  int64_t seed = 0;
  int64_t epochs = 1;         ///< 0 = without end
  bool needs_image = true;    ///< samples without one are damaged
  bool needs_caption = true;  ///< samples without a txt or json are damaged
  bool may_be_empty = false;  ///< empty shards are counted as damage, and none need hold a sample
  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("shards", o.shards, "WebDataset shards: braces, wildcards, patterns joined by '::'");
    v("shuffle", o.shuffle, "shuffle shards by epoch and samples through a buffer");
    v("shuffle_buffer", o.shuffle_buffer, "samples in the shuffle buffer");
    v("seed", o.seed, "seed of the order");
    v("epochs", o.epochs, "passes over the data, 0 = without end");
    v("needs_image", o.needs_image, "samples without an image are damaged");
    v("needs_caption", o.needs_caption, "samples without a caption are damaged");
    v("may_be_empty", o.may_be_empty, "count empty shards as damage instead of refusing them");
  }
};

/// The samples of WebDataset shards in an order that (seed, epoch) alone determine.
///
/// The constructor reads every archive once and remembers where its samples start (16 bytes a
/// sample); the shuffle buffer holds places, not bytes. So the number of samples is known before
/// the first step, any position can be taken up without reading what lies before it, and ranks
/// that skip each other's samples read only their own.
///
/// Errors at construction: a pattern that matches nothing, a shard without a sample, compressed
/// shards, no usable sample at all. Damage is counted in bad() and left out.
class WEFT_API SampleStream {
 public:
  explicit SampleStream(const SampleStreamOptions& options);
  ~SampleStream();

  /// Nothing after the last epoch.
  std::optional<Sample> next();
  int64_t size() const;   ///< samples in an epoch
  int64_t epoch() const;  ///< of the sample that comes next
  const BadData& bad() const;

  /// Where the stream stands. restore() of another stream's state goes on with the same samples;
  /// Error where the shards, the seed or the shuffling differ.
  Json state() const;
  void restore(const Json& state);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft::data
