#pragma once

#include <memory>
#include <vector>

#include <weft/nn/sockets.hpp>
#include <weft/nn/transformer_block.hpp>

namespace weft::nn {

struct TransformerStackOptions {
  TransformerBlockOptions block;
  int64_t num_layers;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("block", o.block, required);
    v("num_layers", o.num_layers, required);
  }
};

class PackedStack;

/// Equal transformer blocks in a row, as submodules "0", "1", ...: the body of an encoder.
class WEFT_API TransformerStackImpl : public torch::nn::Module {
 public:
  explicit TransformerStackImpl(const TransformerStackOptions& options);
  ~TransformerStackImpl() override;

  struct Output {
    torch::Tensor x = {};                    ///< [B, N, D]
    std::vector<torch::Tensor> hidden = {};  ///< the layers asked for, each [B, N, D]
    bool left_early = false;                 ///< stop_after was given: no final norm is due
  };
  /// x [B, N, D], the embeddings; mask as in Attention; `options` as in the Encoder socket, whose
  /// checks are made here. On the fast path (nn/inference.hpp) the results are fp32, and padded
  /// rows are not computed: they are 0. One call at a time.
  Output forward(torch::Tensor x, const torch::Tensor& mask = {},
                 const EncodeOptions& options = {});

  TransformerStackOptions options;
  std::vector<TransformerBlock> blocks;
  /// Compute activations again in the backward pass instead of keeping them (nn/checkpointing.hpp);
  /// in training only.
  bool checkpoint_activations = false;

 private:
  std::unique_ptr<PackedStack> packed_;
};
WEFT_MODULE(TransformerStack);

/// Sets checkpoint_activations of every stack in `module`; returns how many there are.
WEFT_API int64_t checkpoint_activations(torch::nn::Module& module, bool on = true);

/// Sets the drop path of every stack in `module`: block i of L skips its branches with the chance
/// rate * i / (L - 1), as DeiT (Touvron et al., 2021) and timm have it; returns how many stacks
/// there are. Throws c10::ValueError for a rate outside of [0, 1).
WEFT_API int64_t set_drop_path(torch::nn::Module& module, double rate);

}  // namespace weft::nn
