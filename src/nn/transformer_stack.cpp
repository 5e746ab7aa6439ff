#include <algorithm>

#include <weft/nn/checkpointing.hpp>
#include <weft/nn/transformer_stack.hpp>

#include "nn/packed_stack.hpp"

namespace weft::nn {

TransformerStackImpl::TransformerStackImpl(const TransformerStackOptions& o) : options(o) {
  TORCH_CHECK_VALUE(o.num_layers >= 0, "TransformerStack: num_layers must not be negative, got ",
                    o.num_layers);
  for (int64_t i = 0; i < o.num_layers; ++i)
    blocks.push_back(register_module(std::to_string(i), TransformerBlock(o.block)));
}

TransformerStackImpl::~TransformerStackImpl() = default;

TransformerStackImpl::Output TransformerStackImpl::forward(torch::Tensor x,
                                                           const torch::Tensor& mask,
                                                           const EncodeOptions& encode) {
  const auto L = options.num_layers;
  TORCH_CHECK_VALUE(encode.stop_after >= -1 && encode.stop_after <= L,
                    "encode: stop_after must be -1 or between 0 and ", L, ", got ",
                    encode.stop_after);
  Output out;
  out.left_early = encode.stop_after >= 0;
  const auto last = out.left_early ? encode.stop_after : L;
  std::vector<int64_t> layers;
  for (const auto layer : encode.hidden_layers) {
    const auto index = layer < 0 ? layer + L + 1 : layer;
    TORCH_CHECK_VALUE(index >= 0 && index <= last, "encode: hidden layer ", layer,
                      " is not among the layers 0 to ", last, " that run");
    layers.push_back(index);
  }
  if (last > 0 && inference_applies(x, is_training()) &&
      PackedStack::supports(blocks.front()->options)) {
    if (!packed_) packed_ = std::make_unique<PackedStack>();
    if (auto packed = packed_->run(blocks, x, mask, layers, last)) {
      out.x = std::move(packed->x);
      out.hidden = std::move(packed->hidden);
      return out;
    }
  }
  out.hidden.resize(layers.size());
  const auto keep = [&](int64_t layer) {
    for (size_t i = 0; i < layers.size(); ++i)
      if (layers[i] == layer) out.hidden[i] = x;
  };
  keep(0);
  for (int64_t i = 0; i < last; ++i) {
    auto block = blocks[i];
    if (checkpoint_activations && is_training()) {
      x = checkpoint(
          [block, mask](const torch::Tensor& y) mutable { return block->forward(y, mask); }, x,
          block->parameters());
    } else {
      x = block->forward(x, mask);
    }
    keep(i + 1);
  }
  out.x = x;
  return out;
}

namespace {

template <class Use>
int64_t for_each_stack(torch::nn::Module& module, Use&& use) {
  int64_t stacks = 0;
  module.apply([&](torch::nn::Module& part) {
    if (auto* stack = part.as<TransformerStackImpl>()) {
      use(*stack);
      ++stacks;
    }
  });
  return stacks;
}

}  // namespace

int64_t checkpoint_activations(torch::nn::Module& module, bool on) {
  return for_each_stack(module,
                        [&](TransformerStackImpl& stack) { stack.checkpoint_activations = on; });
}

int64_t set_drop_path(torch::nn::Module& module, double rate) {
  TORCH_CHECK_VALUE(rate >= 0 && rate < 1, "set_drop_path: the rate must be in [0, 1), got ", rate);
  return for_each_stack(module, [&](TransformerStackImpl& stack) {
    const auto last = std::max<size_t>(stack.blocks.size(), 2) - 1;
    for (size_t i = 0; i < stack.blocks.size(); ++i)
      stack.blocks[i]->options.drop_path =
          rate * static_cast<double>(i) / static_cast<double>(last);
  });
}

}  // namespace weft::nn
