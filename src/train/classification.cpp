#include <ATen/ops/argmax.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/index_select.h>
#include <torch/types.h>

#include <weft/data/labels.hpp>
#include <weft/train/classification.hpp>

#include "train/loader_step.hpp"

namespace weft::train {

namespace {

const ClassificationOptions& checked(const ClassificationOptions& options) {
  TORCH_CHECK_VALUE(options.label_smoothing >= 0 && options.label_smoothing <= 1,
                    "ClassificationTask: label_smoothing must be in [0, 1], got ",
                    options.label_smoothing);
  return options;
}

/// logits [B, C], labels [B]: the loss of a step and what its line has beside it.
void score(const Tensor& logits, const Tensor& labels, const ClassificationOptions& options,
           StepResult& out) {
  out.loss = at::cross_entropy_loss(logits, labels, /*weight=*/{}, at::Reduction::Mean,
                                    /*ignore_index=*/-100, options.label_smoothing);
  out.extra = {{"accuracy", (logits.argmax(1) == labels).to(at::kDouble).mean().item<double>()}};
}

}  // namespace

ClassificationTask::ClassificationTask(models::ImageClassifier model, data::ImageTextLoader& loader,
                                       const ClassificationOptions& options)
    : model_(std::move(model)), loader_(loader), options_(checked(options)) {}

StepResult ClassificationTask::step() {
  StepResult out;
  const auto batch = take_batch(loader_, out);
  if (!batch) return out;
  data::check_labels(*batch, model_->options.num_classes);
  model_->train();
  const auto device = model_->head->weight.device();
  score(model_->forward({.data = batch->pixels.to(device)}), batch->labels.to(device), options_,
        out);
  return out;
}

CachedClassificationTask::CachedClassificationTask(models::ImageClassifier model,
                                                   eval::LabelledFeatures samples,
                                                   int64_t batch_size, int64_t seed,
                                                   const ClassificationOptions& options)
    : model_(std::move(model)),
      samples_(std::move(samples)),
      rows_(samples_.features.size(0), batch_size, seed),
      options_(checked(options)) {}

StepResult CachedClassificationTask::step() {
  StepResult out;
  model_->train();
  const auto rows = rows_.batch();
  const auto device = samples_.features.device();
  score(model_->classify(samples_.features.index_select(0, rows.to(device))),
        samples_.labels.index_select(0, rows).to(device), options_, out);
  rows_.advance(out);
  return out;
}

}  // namespace weft::train
