#pragma once

#include <weft/core/export.hpp>
#include <weft/core/options.hpp>
#include <weft/data/image_text.hpp>
#include <weft/eval/labelled.hpp>
#include <weft/models/image_classifier.hpp>
#include <weft/train/epoch_rows.hpp>
#include <weft/train/trainer.hpp>

namespace weft::train {

struct ClassificationOptions {
  /// e: the target is 1 - e + e / C for the label and e / C for the others (Szegedy et al., 2016,
  /// section 7).
  double label_smoothing = 0;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("label_smoothing", o.label_smoothing, "share of the target that all classes get evenly");
  }
};

/// Supervised training of a classifier on a stream of labelled images: mean cross-entropy, as
/// torch's CrossEntropyLoss. Each step logs "accuracy", the share of its batch whose label has the
/// highest logit, as the model trains (with dropout).
class WEFT_API ClassificationTask : public Task {
 public:
  /// Throws c10::ValueError for a label_smoothing outside of [0, 1]. The loader needs needs_label;
  /// a label that the model has no class for is an Error that names the sample.
  ClassificationTask(models::ImageClassifier model, data::ImageTextLoader& loader,
                     const ClassificationOptions& options = {});

  StepResult step() override;
  int64_t steps_per_epoch() const override { return loader_.batches(); }
  Json state() const override { return loader_.state(); }
  void restore(const Json& state) override { loader_.restore(state); }

 private:
  models::ImageClassifier model_;
  data::ImageTextLoader& loader_;
  ClassificationOptions options_;
};

/// The same of the head alone, on features of a locked encoder, which ran once: logs and loss are
/// those of ClassificationTask, the order is that of EpochRows.
class WEFT_API CachedClassificationTask : public Task {
 public:
  /// `samples` are the model's features with their labels. Throws Error where a batch is larger
  /// than the data.
  CachedClassificationTask(models::ImageClassifier model, eval::LabelledFeatures samples,
                           int64_t batch_size, int64_t seed,
                           const ClassificationOptions& options = {});

  StepResult step() override;
  int64_t steps_per_epoch() const override { return rows_.batches(); }
  Json state() const override { return rows_.state(); }
  void restore(const Json& state) override { rows_.restore(state); }

 private:
  models::ImageClassifier model_;
  eval::LabelledFeatures samples_;
  EpochRows rows_;
  ClassificationOptions options_;
};

}  // namespace weft::train
