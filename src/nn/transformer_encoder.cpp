#include <ATen/ATen.h>

#include <weft/nn/transformer_encoder.hpp>

namespace weft::nn {

void TransformerEncoder::make_blocks(const TransformerStackOptions& o, const End& end) {
  end_ = end;
  const auto D = o.block.attention.hidden_size;
  const auto init = o.block.attention.init_std;
  TORCH_CHECK_VALUE(end.final_norm || !end.norm_pooled,
                    "TransformerEncoder: norm_pooled needs a final norm");
  TORCH_CHECK_VALUE(end.projection_size >= 0,
                    "TransformerEncoder: projection_size must not be negative, got ",
                    end.projection_size);
  blocks = register_module("blocks", TransformerStack(o));
  if (end.final_norm)
    norm = register_module("norm", Norm({.size = D, .eps = o.block.eps, .kind = o.block.norm}));
  if (end.pooling == Pooling::map) {
    const AttentionOptions attention{
        .hidden_size = D, .num_heads = o.block.attention.num_heads, .init_std = init};
    attention_pool = register_module(
        "attention_pool",
        AttentionPool(
            {.attention = attention, .mlp = o.block.mlp, .eps = o.block.eps, .init_std = init}));
  }
  if (end.pooler) pooler = register_module("pooler", Linear(LinearOptions{D, D, true, init}));
  if (end.projection_size > 0)
    head = register_module("head", Linear(LinearOptions{D, end.projection_size, true, init}));
}

EncoderOutput TransformerEncoder::encode_blocks(const torch::Tensor& x, EncoderOutput out,
                                                const EncodeOptions& options,
                                                const torch::Tensor& visible) {
  auto run = blocks(x, visible.defined() ? visible : out.mask, options);
  out.hidden = std::move(run.hidden);
  if (run.left_early) {
    out.tokens = run.x;
    return out;
  }
  out.tokens = norm && !end_.norm_pooled ? norm(run.x) : run.x;
  out.pooled = attention_pool ? attention_pool(out.tokens, out.mask) : pool(out, end_.pooling);
  if (end_.norm_pooled) out.pooled = norm(out.pooled);
  if (pooler) out.pooled = at::tanh(pooler(out.pooled));
  if (head) out.pooled = head(out.pooled);
  return out;
}

}  // namespace weft::nn
