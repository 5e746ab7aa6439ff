#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <weft/nn/rotary.hpp>
#include <weft/nn/sockets.hpp>
#include <weft/nn/transformer_stack.hpp>
#include <weft/text/table.hpp>

namespace weft::text {

struct DecoderLmOptions {
  std::string family = "llama";  ///< as registered in checkpoint/lm_families
  int64_t vocab_size;
  int64_t num_layers;
  nn::TransformerBlockOptions block;  ///< of every layer; D is its hidden_size; always causal
  int64_t max_tokens = 2048;          ///< the longest text that the model was made for
  bool learned_positions = false;     ///< a table of max_tokens rows (GPT-2, OPT)
  int64_t position_offset = 0;        ///< of that table: rows in front of position 0 (OPT: 2)
  nn::RotaryOptions rotary = {};
  nn::RotaryOptions window_rotary = {};  ///< of the layers with a window; dim 0 = as the others
  int64_t window = 0;                    ///< those see this many tokens, themselves included
  std::vector<int64_t> window_layers = {};
  bool final_norm = true;
  int64_t embed_size = 0;    ///< width of the embeddings; 0 = D, else linear maps around the layers
  double embed_scale = 1.0;  ///< embeddings are multiplied by it, in their own type (Gemma)
  bool tie_embeddings = false;  ///< the head is the table of embeddings
  double logit_soft_cap = 0.0;  ///< 0 = none (Gemma 2)
  double dropout = 0.0;         ///< on the embeddings, in training
  double init_std = 0.02;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("family", o.family);
    v("vocab_size", o.vocab_size, required);
    v("num_layers", o.num_layers, required);
    v("block", o.block, required);
    v("max_tokens", o.max_tokens);
    v("learned_positions", o.learned_positions);
    v("position_offset", o.position_offset);
    v("rotary", o.rotary);
    v("window_rotary", o.window_rotary);
    v("window", o.window);
    v("window_layers", o.window_layers);
    v("final_norm", o.final_norm);
    v("embed_size", o.embed_size);
    v("embed_scale", o.embed_scale);
    v("tie_embeddings", o.tie_embeddings);
    v("logit_soft_cap", o.logit_soft_cap);
    v("dropout", o.dropout);
    v("init_std", o.init_std);
  }
};

/// A decoder-only language model: Llama (Touvron et al., 2023), Mistral, Qwen, Gemma, Phi-3, GPT-2,
/// OPT by its options.
class WEFT_API DecoderLmImpl : public LanguageModel {
 public:
  explicit DecoderLmImpl(const DecoderLmOptions& options);

  /// As the socket says. Padding may stand on either side; outputs there are unspecified. segments,
  /// branches and spans are for calls without cached tokens. A cache is for calls without
  /// gradients. Single tokens behind cached ones take a fast path on the CPU where the architecture
  /// is Llama's; its activations and results are fp32 whatever the weights' type.
  LmOutput forward(const LmInput& input) override;
  torch::Tensor embed(const torch::Tensor& ids) override;
  LmHead head() const override;
  LmInfo info() const override;
  void add_hook(std::shared_ptr<LayerHook> hook) override;

  DecoderLmOptions options;
  Table token_embed{nullptr}, positions{nullptr};
  nn::Linear project_in{nullptr}, project_out{nullptr};  // where embed_size is not D
  nn::TransformerStack blocks{nullptr};
  nn::Norm norm{nullptr};
  nn::Linear lm_head{nullptr};  // empty where it is tied

 private:
  struct Sight;  // masks and rotations of the layers
  torch::Tensor embed_input(const LmInput& input, const torch::Tensor& positions);
  LmOutput decode(const LmInput& input, const torch::Tensor& x, const torch::Tensor& positions);
  torch::Tensor run_layer(int64_t layer, const torch::Tensor& x, const Sight& sight,
                          nn::KeyValueCache* cache);

  nn::Rotary rotary_, window_rotary_;
  std::vector<bool> windowed_;
  std::vector<std::shared_ptr<LayerHook>> hooks_;
};
WEFT_MODULE(DecoderLm);

}  // namespace weft::text
