#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/data/image_text.hpp>
#include <weft/eval/features.hpp>
#include <weft/models/dual_encoder.hpp>
#include <weft/tokenizers/tokenizer.hpp>
#include <weft/train/epoch_rows.hpp>
#include <weft/train/trainer.hpp>

namespace weft::train {

/// Contrastive training on a stream of images and captions. A locked text tower runs once a
/// caption: its features are kept.
class WEFT_API StreamPairTask : public Task {
 public:
  /// `features` says how texts are cut and how a locked text tower runs.
  StreamPairTask(models::DualEncoder model, std::shared_ptr<tokenizers::Tokenizer> tokenizer,
                 data::ImageTextLoader& loader, int64_t seed,
                 const eval::FeatureOptions& features = {});

  /// Runs a locked text tower over `captions` now. What is not kept by then is encoded when a step
  /// first meets it, in other batches after a resume: a run that is to resume bit for bit keeps all
  /// of its captions here.
  void keep_text_features(const std::vector<std::string>& captions);

  StepResult step() override;
  void after_step() override { model_->clamp_scale_(); }
  int64_t steps_per_epoch() const override { return loader_.batches(); }
  Json state() const override { return loader_.state(); }
  void restore(const Json& state) override { loader_.restore(state); }

 private:
  Tensor text_rows(const std::vector<std::string>& captions);

  models::DualEncoder model_;
  std::shared_ptr<tokenizers::Tokenizer> tokenizer_;
  data::ImageTextLoader& loader_;
  int64_t seed_;
  eval::FeatureOptions features_;
  std::unordered_map<std::string, Tensor> known_;  // caption -> features [G] of a locked text tower
};

/// Contrastive training of what stands behind a locked image tower: image features are in memory,
/// texts too where their tower is locked (else the captions are encoded at every step). Each epoch
/// is a new permutation of all samples, less the incomplete batch at its end, with one caption an
/// image.
class WEFT_API CachedPairTask : public Task {
 public:
  /// Throws Error where a batch is larger than the data.
  CachedPairTask(models::DualEncoder model, std::shared_ptr<tokenizers::Tokenizer> tokenizer,
                 eval::PairFeatures pairs, int64_t batch_size, int64_t seed,
                 const eval::FeatureOptions& features = {});

  StepResult step() override;
  void after_step() override { model_->clamp_scale_(); }
  int64_t steps_per_epoch() const override { return rows_.batches(); }
  Json state() const override { return rows_.state(); }
  void restore(const Json& state) override { rows_.restore(state); }

 private:
  models::DualEncoder model_;
  std::shared_ptr<tokenizers::Tokenizer> tokenizer_;
  eval::PairFeatures pairs_;
  EpochRows rows_;
  int64_t seed_;
  eval::FeatureOptions features_;
  std::vector<int64_t> first_;  // [N + 1], first caption of each image
};

}  // namespace weft::train
