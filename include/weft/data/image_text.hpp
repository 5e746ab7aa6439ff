#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/data/bad_data.hpp>
#include <weft/vision/image_batch.hpp>

namespace weft::data {

struct ImageTextLoaderOptions {
  std::string shards = "";
  int64_t batch_size = 64;  ///< per rank
  int64_t workers = 2;      ///< threads that decode; 0 = the calling one
  int64_t prefetch = 2;     ///< batches in work ahead of the one that is taken
  int64_t seed = 0;
  bool shuffle = true;
  int64_t shuffle_buffer = 10'000;
  bool drop_last = true;  ///< leave out the incomplete batch at the end of an epoch
  int64_t epochs = 1;     ///< 0 = without end
  int64_t rank = 0, world = 1;
  bool equal_rows = false;    ///< fill the rows of damaged samples; always on above one rank
  bool needs_caption = true;  ///< off: captions are not read
  bool needs_label = false;   ///< on: samples without a label in their cls are damaged
  double max_bad_fraction = 0.05;
  int64_t max_bad_in_a_row = 100;
  vision::ImageTransformOptions transform = {};
  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("shards", o.shards, "WebDataset shards: braces, wildcards, patterns joined by '::'");
    v("batch_size", o.batch_size, "samples a step and rank");
    v("workers", o.workers, "threads that decode, 0 = the calling one");
    v("prefetch", o.prefetch, "batches in work ahead of the one that is taken");
    v("seed", o.seed, "seed of the order");
    v("shuffle", o.shuffle, "shuffle shards by epoch and samples through a buffer");
    v("shuffle_buffer", o.shuffle_buffer, "samples in the shuffle buffer");
    v("drop_last", o.drop_last, "leave out the incomplete batch at the end of an epoch");
    v("epochs", o.epochs, "passes over the data, 0 = without end");
    v("rank", o.rank, "this process");
    v("world", o.world, "processes that share the data");
    v("equal_rows", o.equal_rows, "fill the rows of damaged samples");
    v("needs_caption", o.needs_caption, "read captions; samples without one are damaged");
    v("needs_label", o.needs_label, "read labels; samples without one are damaged");
    v("max_bad_fraction", o.max_bad_fraction, "largest share of damaged samples");
    v("max_bad_in_a_row", o.max_bad_in_a_row, "largest number of damaged samples in a row");
    v("transform", o.transform, "from decoded image to pixels");
  }
};

struct ImageTextBatch {
  at::Tensor pixels;                               ///< [B, 3, S, S] uint8
  std::vector<std::string> keys;                   ///< [B]
  std::vector<std::vector<std::string>> captions;  ///< [B], each with at least one; or all empty
  at::Tensor labels = {};  ///< [B] int64 where the loader needs_label, else undefined
  int64_t epoch = 0;
  int64_t index = 0;  ///< of the batch in its epoch
  bool last = false;  ///< of its epoch
};

/// What makes pixels of a decoded image: writes [3, S, S] bytes to `chw`, S = transform.size. Runs
/// on the worker threads. `seed` depends on the loader's seed, the epoch and the sample alone:
/// random crops and flips that draw from it are the same however many workers or ranks there are.
using ImageTransform = std::function<void(const io::Image&, uint64_t seed, uint8_t* chw)>;

/// Batches of images and captions from WebDataset shards, decoded ahead by worker threads.
///
/// One global order serves all ranks: step t takes batch_size * world samples of it, of which rank
/// r has the r-th part. So 1, 2 and 4 ranks with equal batch_size * world see the same samples in
/// every step, all ranks make the same number of steps, and no rank needs a shard of its own. With
/// drop_last off, the last step has the remaining samples, split evenly, less the remainder.
///
/// Damaged samples are counted in bad() and leave their batch shorter; a batch of which nothing
/// remains is passed over. With equal_rows, and always above one rank, the next good sample of the
/// step takes the row instead. What stands in the archives' headers is counted by rank 0, what
/// shows in decoding by the rank that decodes, so that counts add up over ranks.
/// Error(bad_data), naming shards and counts, as soon as more than max_bad_fraction of all samples
/// are damaged (each rank takes its own part as typical), or max_bad_in_a_row in sequence.
///
/// Whatever a worker throws comes out of next(). Not itself thread-safe.
class WEFT_API ImageTextLoader {
 public:
  /// Scans the shards; errors as SampleStream. Default transform: vision::to_pixels_into.
  explicit ImageTextLoader(const ImageTextLoaderOptions& options, ImageTransform transform = {});
  ~ImageTextLoader();

  /// Nothing after the last epoch.
  std::optional<ImageTextBatch> next();
  int64_t size() const;     ///< samples in an epoch, over all ranks
  int64_t batches() const;  ///< steps in an epoch
  const BadData& bad() const;
  double wait_seconds() const;  ///< spent in next() so far

  /// Where the batch after the last one taken starts, with the damage so far; prefetched batches
  /// do not count. restore() takes it up without reading what lies before, also under another
  /// number of workers, or of ranks with the same batch_size * world. Error where the data, the
  /// seed, the shuffling or the global batch differ.
  Json state() const;
  void restore(const Json& state);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft::data
