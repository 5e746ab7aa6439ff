#pragma once

#include <weft/nn/pooling.hpp>
#include <weft/nn/sockets.hpp>
#include <weft/nn/transformer_stack.hpp>

namespace weft::nn {

/// What transformer towers of every modality share: the blocks, what follows them, and how encode()
/// leaves them. A tower embeds its input and hands it over.
class WEFT_API TransformerEncoder : public Encoder {
 public:
  TransformerStack blocks{nullptr};
  Norm norm{nullptr};      // after the blocks; null where there is none
  Linear pooler{nullptr};  // tanh(pooler(first token)); null where there is none

 protected:
  /// Registers "blocks", "norm" and "pooler", in this order.
  void make_blocks(const TransformerStackOptions& options, bool final_norm, bool with_pooler);

  /// The rest of encode, from embeddings x [B, N, D]. `out` comes with the mask and the prefix.
  /// pooled is the pooler's, else that of `pooling`; undefined where the tower is left early.
  EncoderOutput encode_blocks(const torch::Tensor& x, EncoderOutput out, Pooling pooling,
                              const EncodeOptions& options);
};

/// Block options from the members that all towers' options name alike; intermediate_size 0 is
/// 4 * hidden_size.
template <class Options>
TransformerBlockOptions block_options(const Options& o) {
  return {.attention = {.hidden_size = o.hidden_size,
                        .num_heads = o.num_heads,
                        .eps = o.eps,
                        .dropout = o.attention_dropout,
                        .init_std = o.init_std},
          .mlp = {.hidden_size = o.hidden_size,
                  .intermediate_size =
                      o.intermediate_size == 0 ? 4 * o.hidden_size : o.intermediate_size,
                  .activation = o.activation,
                  .init_std = o.init_std},
          .eps = o.eps,
          .dropout = o.dropout};
}

/// The same for what a composition asks of a tower.
template <class Options>
EncoderInfo encoder_info(const Options& o) {
  return {.family = o.family,
          .hidden_size = o.hidden_size,
          .pooled_size = o.hidden_size,
          .num_layers = o.num_layers,
          .num_heads = o.num_heads};
}

}  // namespace weft::nn
