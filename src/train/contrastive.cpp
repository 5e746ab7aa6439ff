#include <ATen/ops/index_select.h>
#include <ATen/ops/stack.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <weft/data/captions.hpp>
#include <weft/report/embeddings.hpp>
#include <weft/text/token_batch.hpp>
#include <weft/train/contrastive.hpp>

#include "core/fail.hpp"
#include "train/loader_step.hpp"

namespace weft::train {
namespace {

/// Unit rows of texts through the tower as it is, with its graph.
Tensor encode_texts(models::DualEncoderImpl& model, const tokenizers::Tokenizer& tokenizer,
                    const std::vector<std::string>& captions,
                    const eval::FeatureOptions& features) {
  const auto tokens = text::tokenize(tokenizer, captions, eval::text_limit(*model.text, features));
  const auto device = model.logit_scale.device();
  return model.encode_text({.data = tokens.ids.to(device), .mask = tokens.mask.to(device)});
}

/// What a step's line has beside the loss.
std::vector<std::pair<std::string, double>> measures(models::DualEncoderImpl& model,
                                                     const Tensor& image, const Tensor& text) {
  return {{"logit_scale", model.logit_scale.exp().item<double>()},
          {"modality_gap", report::modality_gap(image.detach(), text.detach())}};
}

}  // namespace

StreamPairTask::StreamPairTask(models::DualEncoder model,
                               std::shared_ptr<tokenizers::Tokenizer> tokenizer,
                               data::ImageTextLoader& loader, int64_t seed,
                               const eval::FeatureOptions& features)
    : model_(std::move(model)),
      tokenizer_(std::move(tokenizer)),
      loader_(loader),
      seed_(seed),
      features_(features) {
  features_.progress = {};
}

void StreamPairTask::keep_text_features(const std::vector<std::string>& captions) {
  std::vector<std::string> fresh;
  for (const auto& caption : captions)
    if (known_.emplace(caption, Tensor()).second) fresh.push_back(caption);
  if (fresh.empty()) return;
  const auto rows = eval::text_features(*model_, *tokenizer_, fresh, features_);
  for (size_t i = 0; i < fresh.size(); ++i) known_[fresh[i]] = rows[static_cast<int64_t>(i)];
}

Tensor StreamPairTask::text_rows(const std::vector<std::string>& captions) {
  if (!model_->text_locked()) return encode_texts(*model_, *tokenizer_, captions, features_);
  keep_text_features(captions);
  std::vector<Tensor> rows;
  for (const auto& caption : captions) rows.push_back(known_.at(caption));
  return model_->project_text(at::stack(rows));
}

StepResult StreamPairTask::step() {
  StepResult out;
  const auto batch = take_batch(loader_, out);
  if (!batch) return out;

  std::vector<std::string> captions;
  for (size_t i = 0; i < batch->keys.size(); ++i)
    captions.push_back(batch->captions[i][data::draw_caption(seed_, batch->epoch, batch->keys[i],
                                                             batch->captions[i].size())]);
  model_->train();
  const EncoderInput pixels{.data = batch->pixels.to(model_->logit_scale.device())};
  const auto image = model_->encode_image(pixels), text = text_rows(captions);
  out.loss = model_->loss(image, text);
  out.extra = measures(*model_, image, text);
  return out;
}

CachedPairTask::CachedPairTask(models::DualEncoder model,
                               std::shared_ptr<tokenizers::Tokenizer> tokenizer,
                               eval::PairFeatures pairs, int64_t batch_size, int64_t seed,
                               const eval::FeatureOptions& features)
    : model_(std::move(model)),
      tokenizer_(std::move(tokenizer)),
      pairs_(std::move(pairs)),
      rows_(pairs_.image.size(0), batch_size, seed),
      seed_(seed),
      features_(features) {
  const auto count = pairs_.image.size(0);
  first_.assign(count + 1, 0);
  const auto owner = pairs_.owner.contiguous();
  for (int64_t i = 0; i < owner.numel(); ++i) ++first_[owner.data_ptr<int64_t>()[i] + 1];
  for (int64_t i = 0; i < count; ++i) first_[i + 1] += first_[i];
}

StepResult CachedPairTask::step() {
  const auto rows = rows_.batch();
  std::vector<int64_t> texts;
  for (int64_t i = 0; i < rows.size(0); ++i) {
    const auto row = rows.data_ptr<int64_t>()[i];
    texts.push_back(first_[row] +
                    static_cast<int64_t>(data::draw_caption(seed_, rows_.epoch(), pairs_.keys[row],
                                                            first_[row + 1] - first_[row])));
  }
  model_->train();
  const auto device = pairs_.image.device();
  const auto image = model_->project_image(pairs_.image.index_select(0, rows.to(device)));
  Tensor text;
  if (pairs_.text.defined()) {
    text = model_->project_text(
        pairs_.text.index_select(0, torch::tensor(texts, at::kLong).to(device)));
  } else {
    std::vector<std::string> captions;
    for (const auto i : texts) captions.push_back(pairs_.captions[i]);
    text = encode_texts(*model_, *tokenizer_, captions, features_);
  }
  StepResult out;
  out.loss = model_->loss(image, text);
  out.extra = measures(*model_, image, text);
  rows_.advance(out);
  return out;
}

}  // namespace weft::train
