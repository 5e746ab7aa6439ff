#pragma once

#include <unordered_map>
#include <utility>

#include <weft/core/export.hpp>
#include <weft/data/conversation_loader.hpp>
#include <weft/eval/visual_features.hpp>
#include <weft/losses/preference.hpp>
#include <weft/models/vlm.hpp>
#include <weft/nn/precision.hpp>
#include <weft/train/trainer.hpp>

namespace weft::train {

/// Log-probabilities of a batch of preferences (ConversationLoaderOptions::preferences), whose rows
/// are a chosen and a rejected answer in turns: of all answers of each row. {chosen, rejected}, [B]
/// each, in fp32.
WEFT_API std::pair<Tensor, Tensor> preference_log_probs(
    models::VlmImpl& model, const data::ConversationBatch& batch,
    const eval::VisualFeatures* features = nullptr);

/// Direct preference optimisation of a vision-language model (Rafailov et al., 2023; with images as
/// in Sun et al., 2023, LLaVA-RLHF's data). The reference is the model as it is when
/// measure_reference() runs: it costs a pass over the data, and no second model in memory.
class WEFT_API PreferenceTask : public Task {
 public:
  PreferenceTask(models::Vlm model, data::ConversationLoader& loader,
                 const losses::PreferenceOptions& options,
                 const eval::VisualFeatures* features = nullptr);

  /// Runs the model as it is over one epoch of `once`, a loader of the same source that leaves
  /// nothing out, or over its first `batches`. Not needed, and an error, where the options are
  /// reference_free.
  void measure_reference(data::ConversationLoader& once, nn::Precision precision,
                         int64_t batches = 0);

  /// Throws Error for a conversation that measure_reference() has not met.
  StepResult step() override;
  int64_t steps_per_epoch() const override { return loader_.batches(); }
  Json state() const override { return loader_.state(); }
  void restore(const Json& state) override { loader_.restore(state); }

 private:
  models::Vlm model_;
  data::ConversationLoader& loader_;
  losses::PreferenceOptions options_;
  const eval::VisualFeatures* features_;
  std::unordered_map<int64_t, std::pair<float, float>> reference_;  // conversation -> its two
};

}  // namespace weft::train
