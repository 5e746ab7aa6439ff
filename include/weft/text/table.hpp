#pragma once

#include <ATen/ops/empty.h>
#include <torch/nn/pimpl.h>

#include <weft/nn/init.hpp>
#include <weft/nn/module.hpp>

namespace weft::text {

/// A table of vectors, [rows, width]: embeddings of tokens, learned positions.
struct WEFT_API TableImpl : torch::nn::Module {
  TableImpl(int64_t rows, int64_t width, double init_std)
      : weight(register_parameter("weight", nn::init_weight(at::empty({rows, width}), init_std))) {}
  torch::Tensor weight;
};
TORCH_MODULE(Table);

}  // namespace weft::text
