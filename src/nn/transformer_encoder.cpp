#include <ATen/ATen.h>

#include <weft/nn/transformer_encoder.hpp>

namespace weft::nn {

void TransformerEncoder::make_blocks(const TransformerStackOptions& o, bool final_norm,
                                     bool with_pooler) {
  const auto D = o.block.attention.hidden_size;
  blocks = register_module("blocks", TransformerStack(o));
  if (final_norm)
    norm = register_module("norm", Norm({.size = D, .eps = o.block.eps, .kind = o.block.norm}));
  if (with_pooler)
    pooler =
        register_module("pooler", Linear(LinearOptions{D, D, true, o.block.attention.init_std}));
}

EncoderOutput TransformerEncoder::encode_blocks(const torch::Tensor& x, EncoderOutput out,
                                                Pooling pooling, const EncodeOptions& options) {
  auto run = blocks(x, out.mask, options);
  out.hidden = std::move(run.hidden);
  if (run.left_early) {
    out.tokens = run.x;
    return out;
  }
  out.tokens = norm ? norm(run.x) : run.x;
  out.pooled = pooler ? at::tanh(pooler(out.tokens.select(1, 0))) : pool(out, pooling);
  return out;
}

}  // namespace weft::nn
