#include <ATen/ops/argmax.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <torch/types.h>

#include <weft/data/labels.hpp>
#include <weft/train/classification.hpp>

#include "train/loader_step.hpp"

namespace weft::train {

ClassificationTask::ClassificationTask(models::ImageClassifier model, data::ImageTextLoader& loader,
                                       const ClassificationOptions& options)
    : model_(std::move(model)), loader_(loader), options_(options) {
  TORCH_CHECK_VALUE(options.label_smoothing >= 0 && options.label_smoothing <= 1,
                    "ClassificationTask: label_smoothing must be in [0, 1], got ",
                    options.label_smoothing);
}

StepResult ClassificationTask::step() {
  StepResult out;
  const auto batch = take_batch(loader_, out);
  if (!batch) return out;
  data::check_labels(*batch, model_->options.num_classes);
  model_->train();
  const auto device = model_->head->weight.device();
  const auto labels = batch->labels.to(device);
  const auto logits = model_->forward({.data = batch->pixels.to(device)});
  out.loss = at::cross_entropy_loss(logits, labels, /*weight=*/{}, at::Reduction::Mean,
                                    /*ignore_index=*/-100, options_.label_smoothing);
  out.extra = {{"accuracy", (logits.argmax(1) == labels).to(at::kDouble).mean().item<double>()}};
  return out;
}

}  // namespace weft::train
