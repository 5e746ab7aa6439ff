#pragma once

#include <cstdint>
#include <optional>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>

namespace weft::ops {

/// The label of rows that carry no loss, as in PyTorch and transformers.
inline constexpr int64_t kIgnoredLabel = -100;

enum class LossReduction { mean, sum, none };

struct LinearCrossEntropyOptions {
  std::optional<at::Tensor> bias = {};  ///< [V], added to the logits
  double label_smoothing =
      0;               ///< e in [0, 1]: targets (1 - e) onehot + e / V (Szegedy et al., 2016)
  double z_loss = 0;   ///< weight of log(Z)^2 (Chowdhery et al., 2022, PaLM, section 5)
  double softcap = 0;  ///< logits c tanh(logits / c) where positive (Gemma 2, section 2)
  LossReduction reduction = LossReduction::mean;  ///< mean: over the labelled rows
};

/// The cross entropy of a linear layer's outputs, without the matrix of logits:
///   loss_i = log(Z_i) - logit_i[label_i] + z_loss log(Z_i)^2,   logit = x weight^T + bias.
///
/// x [..., D] and weight [V, D] of one floating dtype; labels [...] int64 in [0, V), or -100 for
/// rows without a loss. Returns [] (none: labels' shape, 0 for rows without a label), in fp32 (fp64
/// for fp64 inputs). A mean over no labelled row at all is 0, with zero gradients: such
/// micro-batches occur, and must not stop a run.
///
/// Rows without a label are dropped before anything else, which is exact and saves their share of
/// the work. The others pass in chunks, a chunk's logits at a time: products in the inputs' dtype,
/// softmax and loss in fp32. Where gradients are wanted, mean and sum compute them in the forward
/// pass (Hsu et al., 2024, Liger Kernel, section 3.2), 6 N D V operations and no second product of
/// the logits; the weight's is summed over chunks in fp32. `none` computes them in the backward
/// pass, 8 N D V in all. Gradients reach x, weight and bias; second derivatives are refused.
/// Under autocast x, weight and bias are cast to its dtype.
///
/// On CUDA the number of labelled rows is read by the host: one synchronisation a call, none of
/// which a captured graph allows. Labels outside the range are an error on both devices. In Python:
/// torch.ops.weft.linear_cross_entropy(x, weight, labels, bias, label_smoothing=0, z_loss=0,
/// softcap=0, reduction="mean").
WEFT_API at::Tensor linear_cross_entropy(const at::Tensor& x, const at::Tensor& weight,
                                         const at::Tensor& labels,
                                         const LinearCrossEntropyOptions& options = {});

}  // namespace weft::ops
