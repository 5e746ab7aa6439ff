// A small vision transformer, trained as a classifier from random weights.
#pragma once

#include <optional>

#include <weft/data/augment.hpp>
#include <weft/data/image_text.hpp>
#include <weft/models/image_classifier.hpp>
#include <weft/nn/random_state.hpp>
#include <weft/report/run_log.hpp>
#include <weft/train/classification.hpp>
#include <weft/train/trainer.hpp>
#include <weft/vision/vision_transformer.hpp>

#include "study.hpp"

namespace study {

struct ScratchOptions {
  int64_t image_size = 64, width = 128, layers = 4;
  int64_t batch_size = 32, epochs = 20;
  double lr = 1e-3;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("image_size", o.image_size, "pixels a side");
    v("width", o.width, "of the transformer, a multiple of 32");
    v("layers", o.layers, "of the transformer");
    v("batch_size", o.batch_size, "samples a step");
    v("epochs", o.epochs, "passes over --train");
    v("lr", o.lr, "peak learning rate");
  }
};

/// A plain ViT as Beyer et al. (2022) simplify it for training from scratch: sine-cosine positions,
/// the mean of the patches, no class token. Weights start wider than for the usual widths of 768.
inline weft::models::ImageClassifier fresh_classifier(const ScratchOptions& options,
                                                      int64_t patch_size, int64_t classes,
                                                      int64_t seed) {
  weft::nn::seed_all(seed);
  const auto vit = std::make_shared<weft::vision::VisionTransformerImpl>(
      weft::vision::VisionTransformerOptions{.image_size = options.image_size,
                                             .patch_size = patch_size,
                                             .hidden_size = options.width,
                                             .num_layers = options.layers,
                                             .num_heads = std::max<int64_t>(options.width / 32, 1),
                                             .class_token = false,
                                             .position_kind = weft::vision::PositionKind::sincos,
                                             .init_std = 0.06});
  return weft::models::ImageClassifier(
      vit, weft::models::ImageClassifierOptions{.num_classes = classes,
                                                .pool = weft::nn::Pooling::mean});
}

/// Labelled images in the order of the shards.
inline weft::data::ImageTextLoaderOptions labelled(const std::string& shards,
                                                   const Common& common) {
  return {.shards = shards,
          .workers = common.workers,
          .shuffle = false,
          .drop_last = false,
          .needs_caption = false,
          .needs_label = true};
}

/// A whole split as one batch, for what looks at it again and again.
inline weft::data::ImageTextBatch read_all(const std::string& shards, int64_t image_size,
                                           const Common& common) {
  auto source = labelled(shards, common);
  source.transform.size = image_size;
  source.batch_size = weft::data::ImageTextLoader(source).size();
  auto batch = weft::data::ImageTextLoader(source).next();
  if (!batch) throw Error("no usable sample was found in " + shards);
  return *batch;
}

/// Trains on random crops and mirrored images; the run's folder is --out/runs/`name`.
inline weft::train::TrainSummary train(weft::models::ImageClassifier& model,
                                       const std::string& shards, const ScratchOptions& options,
                                       const Common& common, int64_t seed,
                                       const std::string& name) {
  using namespace weft;
  auto source = labelled(shards, common);
  source.batch_size = options.batch_size;
  source.seed = seed;
  source.shuffle = source.drop_last = true;
  source.epochs = options.epochs;
  source.transform.size = options.image_size;
  data::ImageTextLoader loader(
      source,
      data::augmenting({.scale = {0.5, 1.0}, .horizontal_flip_prob = 0.5}, source.transform));
  weft::train::ClassificationTask task(model, loader, {.label_smoothing = 0.1});
  const auto folder = fs::path(common.out) / "runs" / name;
  fs::remove_all(folder);
  report::RunLog log(folder, {.tensorboard = false});
  log.log(name);
  const auto steps = loader.batches() * options.epochs;
  const auto summary = weft::train::Trainer(*model, task,
                                            {.epochs = options.epochs,
                                             .lr = options.lr,
                                             .warmup = steps / 10,
                                             .lr_scheduler = weft::train::Schedule::cosine,
                                             .grad_clip_norm = 1,
                                             .seed = seed,
                                             .save_every = 0},
                                            log)
                           .run();
  fs::remove_all(folder / "checkpoints");
  return summary;
}

}  // namespace study
