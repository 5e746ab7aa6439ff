#pragma once

#include <string>

#include <weft/nn/transformer_encoder.hpp>
#include <weft/text/table.hpp>

namespace weft::text {

/// Named after the Hugging Face configurations where the concept is the same.
struct TextEncoderOptions {
  std::string family = "bert";  ///< as registered in checkpoint/families
  int64_t vocab_size = 30522;
  int64_t hidden_size = 384;  ///< D
  int64_t num_layers = 6;
  int64_t num_heads = 12;
  int64_t intermediate_size = 0;  ///< width inside the mlp; 0 = 4 * hidden_size
  int64_t max_tokens = 512;       ///< positions
  int64_t type_vocab = 2;         ///< token types; 0 = none
  nn::Activation activation = nn::Activation::gelu;
  double eps = 1e-12;      ///< of every norm
  bool post_norm = true;   ///< BERT's blocks; else pre-norm, with a final norm
  bool embed_norm = true;  ///< a norm after the sum of embeddings
  bool causal = false;
  /// cls, mean, last, eot, or encoder: last where causal, else cls. eot is the first token
  /// eot_token (CLIP); what follows it is not computed.
  nn::Pooling pooling = nn::Pooling::encoder;
  int64_t eot_token = -1;       ///< -1 = the largest id of each row (OpenAI's CLIP)
  bool pooler = false;          ///< tanh(linear(pooled)) (BERT)
  int64_t projection_size = 0;  ///< a linear head behind the pooled token (SigLIP); 0 = none
  double dropout = 0.0;         ///< on embeddings and branches, in training
  double attention_dropout = 0.0;
  double init_std = 0.02;
  nn::Initialization init = nn::Initialization::trunc_normal;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("family", o.family);
    v("vocab_size", o.vocab_size);
    v("hidden_size", o.hidden_size);
    v("num_layers", o.num_layers);
    v("num_heads", o.num_heads);
    v("intermediate_size", o.intermediate_size);
    v("max_tokens", o.max_tokens);
    v("type_vocab", o.type_vocab);
    v("activation", o.activation);
    v("eps", o.eps);
    v("post_norm", o.post_norm);
    v("embed_norm", o.embed_norm);
    v("causal", o.causal);
    v("pooling", o.pooling);
    v("eot_token", o.eot_token);
    v("pooler", o.pooler);
    v("projection_size", o.projection_size);
    v("dropout", o.dropout);
    v("attention_dropout", o.attention_dropout);
    v("init_std", o.init_std);
    v("init", o.init);
  }
};

/// A transformer over token ids with learned positions: BERT (Devlin et al., 2019) by default,
/// pre-norm or causal by options.
class WEFT_API TextEncoderImpl : public nn::TransformerEncoder {
 public:
  explicit TextEncoderImpl(const TextEncoderOptions& options);

  /// input.data: ids [B, N] int64; input.mask [B, N] bool, true = real, real tokens first. Token
  /// types are 0. tokens [B, N, D], unspecified where the output's mask is false (with the pooling
  /// eot, behind that token too); pooled [B, info().pooled_size] as options.pooling says, through
  /// the pooler and the head where there are any; undefined where the tower was left early.
  EncoderOutput encode(const EncoderInput& input, const EncodeOptions& options = {}) override;
  EncoderInfo info() const override;

  /// Ids [B, N] and token types [B, N] int64 (undefined = 0) to what enters the blocks, [B, N, D].
  torch::Tensor embed(const torch::Tensor& ids, const torch::Tensor& types = {});
  /// The rest of encode, from embeddings [B, N, D]; mask ends at the end-of-text token.
  EncoderOutput encode_embedded(const torch::Tensor& x, const torch::Tensor& mask = {},
                                const EncodeOptions& options = {});

  /// [B, N] bool: the tokens up to the end-of-text token, that one included, and real by `mask`.
  /// Error on the CPU where a row has none.
  torch::Tensor mask_to_eot(const torch::Tensor& ids, const torch::Tensor& mask = {}) const;

  TextEncoderOptions options;
  Table token_embed{nullptr}, positions{nullptr}, type_embed{nullptr};
  nn::Norm embed_norm{nullptr};

 private:
  void init_clip();
};
WEFT_MODULE(TextEncoder);

}  // namespace weft::text
