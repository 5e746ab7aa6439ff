#pragma once

#include <weft/nn/attention_pool.hpp>
#include <weft/nn/pooling.hpp>
#include <weft/nn/sockets.hpp>
#include <weft/nn/transformer_stack.hpp>

namespace weft::nn {

/// What transformer towers of every modality share: the blocks, what follows them, and how encode()
/// leaves them. A tower embeds its input and hands it over.
class WEFT_API TransformerEncoder : public Encoder {
 public:
  TransformerStack blocks{nullptr};
  Norm norm{nullptr};  // after the blocks; null where there is none
  AttentionPool attention_pool{nullptr};
  Linear pooler{nullptr};  // pooled = tanh(pooler(pooled))
  Linear head{nullptr};    // pooled = head(pooled)

 protected:
  struct End {
    bool final_norm = true;
    bool norm_pooled = false;  ///< the norm is the pooled vector's; tokens leave without it
    Pooling pooling = Pooling::cls;
    bool pooler = false;
    int64_t projection_size = 0;  ///< of the head; 0 = none
  };
  /// Registers "blocks", "norm", "attention_pool", "pooler" and "head", in this order, as far as
  /// there are any.
  void make_blocks(const TransformerStackOptions& options, const End& end);

  /// The rest of encode, from embeddings x [B, N, D]. `out` comes with the mask and the prefix.
  /// `visible`, as a mask of Attention, stands for out.mask in the blocks. pooled is undefined
  /// where the tower is left early.
  EncoderOutput encode_blocks(const torch::Tensor& x, EncoderOutput out,
                              const EncodeOptions& options, const torch::Tensor& visible = {});

 private:
  End end_;
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
