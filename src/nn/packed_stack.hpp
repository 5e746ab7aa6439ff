#pragma once

#include <optional>
#include <vector>

#include <weft/nn/inference.hpp>
#include <weft/nn/transformer_block.hpp>

namespace weft::nn {

/// The fast path of TransformerStack: q, k and v in one product, LayerScale inside the weights,
/// activations fused into the products, sums and norms in one pass over an fp32 residual stream,
/// real tokens only, a few hundred rows at a time so that activations stay in the cache.
class PackedStack {
 public:
  /// `options` as a block holds them, its defaults filled in.
  static bool supports(const TransformerBlockOptions& options);

  struct Result {
    at::Tensor x;                    // [B, N, D] fp32
    std::vector<at::Tensor> hidden;  // [B, N, D] fp32, one a layer asked for
  };
  /// Runs the first `last` blocks. nullopt where the mask is not one of real tokens first.
  std::optional<Result> run(std::vector<TransformerBlock>& blocks, const at::Tensor& x,
                            const at::Tensor& mask, const std::vector<int64_t>& layers,
                            int64_t last);

 private:
  struct Block {
    TensorStamp stamp;
    at::ScalarType type = at::kFloat;
    PackedLinear qkv, out, gate, fc1, fc2;
    at::Tensor norm1_weight, norm1_bias, norm2_weight, norm2_bias;
  };
  struct Segment {  // `count` sequences of `length` tokens, one after the other
    int64_t count, length;
  };
  void refresh(std::vector<TransformerBlock>& blocks, int64_t last);
  void run_rows(const TransformerBlockOptions& options, at::Tensor x,
                const std::vector<Segment>& segments, int64_t first_row,
                const std::vector<int64_t>& layers, int64_t last, Result& result) const;

  std::vector<Block> blocks_;
};

}  // namespace weft::nn
