#pragma once

#include <optional>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/ops/gate_activation.hpp>

namespace weft::ops {

/// The second half of a gated feed-forward layer (Shazeer, 2020, GLU Variants Improve Transformer,
/// section 2), which keeps two matrices of its width for the backward pass instead of four:
///   (act(gate) * up) weight^T + bias.
///
/// gate and up [..., I], weight [O, I] and bias [O] of one floating dtype. Returns [..., O]. Only
/// gate, up and weight are kept: one pass over gate, up and the gradient of their product makes the
/// product again, for the weight's gradient, and the gradients of gate and up. What needs no
/// gradient costs none. Second derivatives are those of the formula in plain ATen.
///
/// Activation and product are computed in fp32 (fp64 for fp64) and rounded once; the plain formula
/// rounds act(gate) to its dtype first. On the CPU that one pass is for silu and gelu_tanh; the
/// exact gelu, and fp16, take ATen's passes, which save the memory alone. gate and up are copied
/// where their elements do not lie in order. Under autocast all four are cast to its dtype, as
/// those of a linear layer are. In Python:
/// torch.ops.weft.gated_linear(gate, up, weight, bias=None, activation="silu").
WEFT_API at::Tensor gated_linear(const at::Tensor& gate, const at::Tensor& up,
                                 const at::Tensor& weight,
                                 const std::optional<at::Tensor>& bias = {},
                                 GateActivation activation = GateActivation::silu);

}  // namespace weft::ops
