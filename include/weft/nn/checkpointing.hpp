#pragma once

#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>

namespace weft::nn {

/// Activation checkpointing (Chen et al., 2016): computes f(x) without keeping what its backward
/// needs, and computes it again there, under the random and autocast state of the first time, so
/// that result and gradients equal the plain ones bit by bit. `parameters` are the leaves that f
/// uses besides x; they get their gradients through this node, so that hooks and
/// torch::autograd::grad see them as usual. f must not change state, and be deterministic but for
/// torch's generators. With gradients off it is f(x).
WEFT_API at::Tensor checkpoint(const std::function<at::Tensor(const at::Tensor&)>& f,
                               const at::Tensor& x, const std::vector<at::Tensor>& parameters);

}  // namespace weft::nn
