#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include <weft/ops/linear_cross_entropy.hpp>
#include <weft/train/preference.hpp>
#include <weft/train/vlm.hpp>

#include "core/fail.hpp"
#include "eval/eval_mode.hpp"
#include "train/loader_step.hpp"

namespace weft::train {

std::pair<Tensor, Tensor> preference_log_probs(models::VlmImpl& model,
                                               const data::ConversationBatch& batch,
                                               const eval::VisualFeatures* features) {
  TORCH_CHECK_VALUE(batch.text.ids.size(0) == 2 * batch.samples,
                    "preference_log_probs: rows must be pairs of answers, got ",
                    batch.text.ids.size(0), " of ", batch.samples, " conversations");
  const auto rows = answer_losses(model, batch, ops::LossReduction::none, features).sum(1).neg();
  const auto pairs = rows.view({-1, 2});  // [B, 2]
  return {pairs.select(1, 0), pairs.select(1, 1)};
}

PreferenceTask::PreferenceTask(models::Vlm model, data::ConversationLoader& loader,
                               const losses::PreferenceOptions& options,
                               const eval::VisualFeatures* features)
    : model_(std::move(model)), loader_(loader), options_(options), features_(features) {}

void PreferenceTask::measure_reference(data::ConversationLoader& once, nn::Precision precision,
                                       int64_t batches) {
  TORCH_CHECK_VALUE(!options_.reference_free, "PreferenceTask: reference_free goes without one");
  const at::NoGradGuard no_grad;
  const eval::EvalMode eval(*model_);
  const nn::PrecisionGuard guard(model_->language->parameters().front().device().type(), precision);
  for (int64_t i = 0; batches == 0 || i < batches; ++i) {
    const auto batch = once.next();
    if (!batch) break;
    const auto [chosen, rejected] = preference_log_probs(*model_, *batch, features_);
    for (int64_t k = 0; k < batch->samples; ++k)
      reference_[batch->conversations[static_cast<size_t>(k)]] = {chosen[k].item<float>(),
                                                                  rejected[k].item<float>()};
  }
}

StepResult PreferenceTask::step() {
  StepResult out;
  const auto batch = take_batch(loader_, out);
  if (!batch) return out;
  set_modes(*model_);
  losses::PreferenceInput input;
  std::tie(input.chosen, input.rejected) = preference_log_probs(*model_, *batch, features_);
  if (!options_.reference_free) {
    std::vector<float> chosen, rejected;
    for (size_t i = 0; i < batch->conversations.size(); ++i) {
      const auto found = reference_.find(batch->conversations[i]);
      if (found == reference_.end())
        fail("conversation '{}': the reference was not measured on it", batch->keys[i]);
      chosen.push_back(found->second.first);
      rejected.push_back(found->second.second);
    }
    input.reference_chosen = at::tensor(chosen).to(input.chosen.device());
    input.reference_rejected = at::tensor(rejected).to(input.chosen.device());
  }
  const auto made = losses::preference_loss(input, options_);
  out.loss = made.loss;
  out.extra = {{"accuracy", made.accuracy.item<double>()},
               {"margin", made.margin.item<double>()},
               {"chosen_reward", made.chosen_rewards.mean().item<double>()},
               {"rejected_reward", made.rejected_rewards.mean().item<double>()}};
  return out;
}

}  // namespace weft::train
