#pragma once

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>

namespace weft::ops {

/// The sigmoid loss of SigLIP (Zhai et al., 2023, equation 2): every one of the N x N pairs is a
/// binary question of its own. With logits S = scale * image text^T + bias,
///   sum_ij -log sigmoid(z_ij S_ij) / N,  z_ii = 1, else -1.
///
/// image, text [N, D] of one floating dtype, N at least 1; row i of both is a pair. Rows are used
/// as they are: unit length is the caller's. scale [] multiplies (it is exp(t'), never t'); bias []
/// is added. Returns [] in fp32 (fp64 for fp64 inputs); half precision inputs are computed in fp32,
/// and under autocast too. Gradients reach all four; second derivatives are refused.
///
/// On the CPU a block of 256 rows of logits lives at a time, forward and backward.
WEFT_API at::Tensor sigmoid_loss(const at::Tensor& image, const at::Tensor& text,
                                 const at::Tensor& scale, const at::Tensor& bias);

}  // namespace weft::ops
