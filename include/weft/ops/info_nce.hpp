#pragma once

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>

namespace weft::ops {

/// The symmetric InfoNCE loss of CLIP (Radford et al., 2021, figure 3): with logits
/// S = scale * image text^T, the mean over i of
///   (-log softmax_j(S_ij)[i] - log softmax_j(S_ji)[i]) / 2.
///
/// image, text [N, D] of one floating dtype, N at least 1; row i of both is a pair. Rows are used
/// as they are: unit length is the caller's. scale [] multiplies (it is exp(tau), never tau).
/// Returns [] in fp32 (fp64 for fp64 inputs); half precision inputs are computed in fp32, and under
/// autocast too. Gradients reach image, text and scale; second derivatives are refused.
///
/// On the CPU the logits are never whole in memory: a block of 256 rows lives at a time, forward
/// and backward. In Python: torch.ops.load_library("libweft.so"), then torch.ops.weft.info_nce.
WEFT_API at::Tensor info_nce(const at::Tensor& image, const at::Tensor& text,
                             const at::Tensor& scale);

}  // namespace weft::ops
