#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/data/conversation_tokens.hpp>
#include <weft/data/conversations.hpp>
#include <weft/nn/sockets.hpp>

namespace weft::data {

/// An image as a vision-language model reads it.
struct VisualInput {
  at::Tensor pixels = {};  ///< [tiles, 3, S, S] uint8; undefined where the tokens are known already
  at::Tensor row = {};  ///< [6] int64, as EncoderInput.images but for the first tile; undefined =
                        ///< the connector reads each tile by itself
  int64_t tokens = 0;   ///< in the language model
  std::vector<int64_t> ids = {};  ///< what the text holds for it, as in VisualTokens
};
/// Of the image of that number. Called on worker threads; may throw BadSample.
using ReadVisual = std::function<VisualInput(int64_t image)>;

struct ConversationLoaderOptions {
  int64_t batch_size = 16;
  int64_t workers = 2;
  int64_t prefetch = 2;
  int64_t seed = 0;
  bool shuffle = true;
  bool drop_last = true;
  int64_t epochs = 1;
  bool group_by_length = false;
  int64_t pack_length = 0;
  int64_t image_tokens = 0;
  bool preferences = false;
  int64_t rank = 0, world = 1;
  double max_bad_fraction = 0.05;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("batch_size", o.batch_size, "rows a step and rank");
    v("workers", o.workers, "threads that prepare batches, 0 = the calling one");
    v("prefetch", o.prefetch, "batches in work ahead of the one that is taken");
    v("seed", o.seed, "of the order");
    v("shuffle", o.shuffle, "another order each epoch");
    v("drop_last", o.drop_last, "leave out the incomplete batch at the end of an epoch");
    v("epochs", o.epochs, "passes over the data, 0 = without end");
    v("group_by_length", o.group_by_length, "batches of samples of about one length");
    v("pack_length", o.pack_length, "fill rows of this many tokens with samples; 0 = one a row");
    v("image_tokens", o.image_tokens,
      "visual tokens of every image, where all have as many: lengths are then known without "
      "opening "
      "any; 0 = each tells its own");
    v("preferences", o.preferences, "each sample is two rows: the chosen and the rejected answer");
    v("rank", o.rank, "this process");
    v("world", o.world, "processes that share the data");
    v("max_bad_fraction", o.max_bad_fraction, "largest share of damaged samples");
  }
};

struct ConversationBatch {
  LmInput text = {};         ///< ids [B, T] with placeholders, mask; segments, branches as needed;
                             ///< spans, the samples' prefixes, with prefix_attention
  at::Tensor targets = {};   ///< [B, T], what each token is to predict; -100 = no matter
  EncoderInput images = {};  ///< data [tiles, 3, S, S] uint8, images [I, 6] where there are rows;
                             ///< undefined where there are none, or ReadVisual gave no pixels
  std::vector<int64_t> numbers = {};  ///< [I], of the images, in the order of their placeholders
  std::vector<int64_t> conversations = {};  ///< [samples], numbers in their source
  std::vector<std::string> keys = {};       ///< their ids
  int64_t samples = 0;
  int64_t epoch = 0, index = 0;
  bool last = false;  ///< of its epoch
};

/// Batches of conversations as ids, targets and pixels, prepared ahead by worker threads. The order
/// depends on (seed, epoch) alone; step t takes batch_size * world rows of it, of which rank r has
/// the r-th part.
///
/// group_by_length sorts within blocks of 50 steps, as transformers' LengthGroupedSampler does, and
/// takes the steps of a block in random order. pack_length puts as many conversations into a row as
/// fit, first fit in a random order that all epochs share: fewer rows, of which no token sees
/// another conversation. Both read all texts at the start, and all images unless image_tokens says
/// what these take (data::visual_tokens()).
///
/// Preferences go neither with packed rows nor with shared turns, Error (usage).
///
/// Damaged samples are counted in bad() and leave their batch smaller; a batch of which nothing
/// remains is passed over, or with several ranks an Error. Error(bad_data) as soon as more than
/// max_bad_fraction of all are damaged, or nothing of a whole pass could be used. Not itself
/// thread-safe.
class WEFT_API ConversationLoader {
 public:
  ConversationLoader(std::shared_ptr<const ConversationSource> source,
                     std::shared_ptr<const ConversationEncoder> encoder, ReadVisual read,
                     const ConversationLoaderOptions& options);
  ~ConversationLoader();

  std::optional<ConversationBatch> next();
  /// The first `count` samples in the order of the first epoch. Damaged ones are passed over and
  /// counted, as by next().
  std::vector<ConversationTokens> peek(int64_t count);
  int64_t rows() const;     ///< in an epoch, over all ranks
  int64_t batches() const;  ///< steps in an epoch
  const BadData& bad() const;
  int64_t cut() const;     ///< conversations that next() gave so far whose end did not fit
  int64_t copied() const;  ///< the same of those whose turns could not share their images
  std::vector<std::string> warnings() const;  ///< all three for people, each if there is any
  double wait_seconds() const;                ///< spent in next() so far

  /// Where the batch after the last one taken starts. restore() takes it up under another number of
  /// workers too. Error where the data, the seed or the batches differ, or the lengths of samples
  /// by which rows are packed or grouped.
  Json state() const;
  void restore(const Json& state);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft::data
