#pragma once

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>

namespace weft::ops {

/// Puts visual tokens where a prompt has placeholders, as LLaVA and its successors do (Liu et al.,
/// 2023, figure 1): the k-th placeholder, row by row through the batch, becomes visual token k.
///
///     x = ops::splice(lm->embed(ids), visual, ids == image_token_id);
///
/// embeddings [T, D] or [B, T, D]; visual [M, D] or [I, P, D], any number of images' tokens one
/// after the other; placeholders bool, [T] or [B, T]. Returns embeddings' shape and dtype. visual
/// has the same dtype; under autocast it is cast to embeddings'. Gradients reach both: those of
/// embeddings are 0 at placeholders. Second derivatives are refused.
///
/// The placeholders must be as many as the visual tokens. On the CPU anything else is an error with
/// both numbers. On CUDA the host does not wait to count: the kernel counts, prints both numbers
/// and stops the program's device work, which the next synchronisation reports.
/// In Python: torch.ops.weft.splice.
WEFT_API at::Tensor splice(const at::Tensor& embeddings, const at::Tensor& visual,
                           const at::Tensor& placeholders);

}  // namespace weft::ops
