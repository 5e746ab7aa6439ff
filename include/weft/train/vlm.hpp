#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/data/conversation_loader.hpp>
#include <weft/eval/visual_features.hpp>
#include <weft/models/vlm.hpp>
#include <weft/ops/linear_cross_entropy.hpp>
#include <weft/train/trainer.hpp>

namespace weft::train {

/// What a vision-language model's language model reads of a batch. `features` in the place of the
/// tower where they are given. Throws c10::ValueError for ids of another model's tokenizer.
WEFT_API LmInput vlm_input(models::VlmImpl& model, const data::ConversationBatch& batch,
                           const eval::VisualFeatures* features = nullptr);

/// The cross entropy of the batch's answer tokens, fp32, without the logits of any other: their
/// mean or sum, [], or each one's, [B, T], 0 for other tokens. A batch without images gives
/// connector and tower gradients of 0, so that every step reaches all that is trained.
WEFT_API Tensor answer_losses(models::VlmImpl& model, const data::ConversationBatch& batch,
                              ops::LossReduction reduction = ops::LossReduction::mean,
                              const eval::VisualFeatures* features = nullptr);

/// Whether a parameter of the module requires a gradient.
WEFT_API bool trains(const torch::nn::Module& module);

/// Training mode for the parts of which something is trained, evaluation mode for the others.
WEFT_API void set_modes(models::VlmImpl& model);

/// Next-token training of a vision-language model on conversations (Liu et al., 2023, LLaVA,
/// section 4.2): the mean loss over the batch's answer tokens. Parts of which nothing is trained
/// are in evaluation mode; a tower of which nothing is trained runs without a graph.
class WEFT_API VlmTask : public Task {
 public:
  /// `features`, if given, must outlive the task and be of a tower that is not trained.
  VlmTask(models::Vlm model, data::ConversationLoader& loader,
          const eval::VisualFeatures* features = nullptr);

  StepResult step() override;
  int64_t steps_per_epoch() const override { return loader_.batches(); }
  Json state() const override { return loader_.state(); }
  void restore(const Json& state) override { loader_.restore(state); }

 private:
  models::Vlm model_;
  data::ConversationLoader& loader_;
  const eval::VisualFeatures* features_;
};

/// Trains the parts of these names (vision, connector, language) and nothing else. Throws
/// c10::ValueError for another name.
WEFT_API void train_parts(models::VlmImpl& model, const std::vector<std::string>& parts);

/// `base` with learning rates of their own: parameters whose names begin with a prefix take
/// `scale` times the schedule's.
WEFT_API GroupRule scaled_rates(std::vector<std::pair<std::string, double>> prefixes,
                                GroupRule base = default_rule);

}  // namespace weft::train
