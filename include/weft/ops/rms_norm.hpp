#pragma once

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>

namespace weft::ops {

/// RMSNorm (Zhang & Sennrich, 2019, section 4): x / sqrt(mean x^2 + eps) * weight over the last
/// dimension.
///
/// x [..., D] floating; weight [D] floating, undefined = 1. Computed in fp32 (fp64 for fp64) and
/// rounded once, to the wider of both types: bf16 rows by an fp32 weight are fp32, as under
/// autocast. Keeps x, weight and one number a row for the gradient, whose sums do not depend on the
/// number of threads. Dense x with the elements of a row side by side ([B, T, H, D] seen as
/// [B, H, T, D], too) gives a result of its strides. Differentiable twice. In Python:
/// torch.ops.weft.rms_norm(x, weight=None, eps=1e-6).
WEFT_API at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps = 1e-6);

}  // namespace weft::ops
