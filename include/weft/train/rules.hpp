#pragma once

#include <weft/train/optimizer.hpp>

namespace weft::train {

/// open_clip's choice (its main.py): everything of at most one dimension is spared weight decay,
/// that is biases, norms, class tokens and the logit scale; position tables do decay.
WEFT_API ParameterRule open_clip_rule(std::string_view name, const Tensor& parameter);

/// `base` with learning rates that shrink towards the input, as fine-tuning of BEiT (Bao et al.,
/// 2022) and MAE (He et al., 2022) has them: in a transformer of L blocks the embeddings are layer
/// 0, block i (from 0) is layer i + 1 and what follows the blocks is layer L + 1, and a layer's
/// rate is decay^(L + 1 - layer) of the schedule's. Each transformer in `module` counts by itself;
/// parameters outside of any keep the schedule's rate.
/// Throws c10::ValueError for a decay outside of (0, 1].
WEFT_API GroupRule layer_decay(const torch::nn::Module& module, double decay,
                               GroupRule base = default_rule);

}  // namespace weft::train
