#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <weft/core/export.hpp>
#include <weft/nn/key_value_cache.hpp>

namespace weft {

using at::Tensor;

/// What an encoder reads. Members that do not apply stay undefined.
struct EncoderInput {
  Tensor data = {};    ///< pixels [B, 3, H, W] (float, normalised; or uint8, 0..255), mel frames,
                       ///< waveform or ids [B, N]
  Tensor mask = {};    ///< [B, N] bool, true = real
  Tensor grid = {};    ///< [B, 3] patch grid t, h, w where sizes differ
  Tensor images = {};  ///< [I, 6]: first tile, tile rows, tile columns, height, width, has base
                       ///< view; then B counts tiles
};

struct EncodeOptions {
  std::vector<int64_t> hidden_layers = {};  ///< 0 = embeddings, i = after block i, negative from
                                            ///< the end; never through the final norm
  int64_t stop_after = -1;                  ///< leave the tower after this many blocks; -1 = never
};

struct EncoderOutput {
  Tensor tokens =
      {};  ///< [B, N, D], or [1, sum N, D] when packed; through the final norm unless left early
  Tensor pooled = {};  ///< [B, info().pooled_size], before any projection into a shared space
  Tensor mask = {};    ///< [B, N] bool, true = real; undefined = all real
  Tensor grid = {}, images = {};  ///< as in EncoderInput
  Tensor cu_seqlens = {};         ///< [S + 1] int32, starts of the packed sequences
  int64_t prefix = 0;             ///< class and register tokens in front of the patch tokens
  std::vector<Tensor> hidden =
      {};  ///< exactly the layers that were asked for, in that order, each [B, N, D]
};

/// What a composition needs to know about an encoder before it runs.
struct EncoderInfo {
  std::string family;       ///< as registered in checkpoint/families, such as "dinov2"
  int64_t hidden_size = 0;  ///< D of tokens and hidden
  int64_t pooled_size = 0;  ///< width of pooled
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t prefix = 0;  ///< class and register tokens
  int64_t image_size =
      0;  ///< pixels a side that the positions were made for; 0 for other modalities
  int64_t patch_size = 0;  ///< pixels a side; 0 for other modalities
  int64_t max_tokens = 0;  ///< longest input that the positions allow; 0 = no limit
  int64_t vocab_size = 0;  ///< 0 for other modalities than text
};

/// The socket for encoders of every modality. A class fits one socket.
class WEFT_API Encoder : public torch::nn::Module {
 public:
  using torch::nn::Module::Module;
  virtual EncoderOutput encode(const EncoderInput& input, const EncodeOptions& options = {}) = 0;
  virtual EncoderInfo info() const = 0;
};

struct ConnectorInput {
  EncoderOutput visual = {};       ///< tokens [B, N, input_size], without a prefix
  Tensor ids = {}, ids_mask = {};  ///< the instruction, which InstructBLIP's Q-Former reads
};
struct ConnectorInfo {
  int64_t input_size = 0;   ///< width of visual tokens
  int64_t hidden_size = 0;  ///< width of language tokens
};

/// The socket between an encoder and a language model.
class WEFT_API Connector : public torch::nn::Module {
 public:
  using torch::nn::Module::Module;
  /// Visual tokens to language tokens, [B, M, hidden_size], or [1, sum M, hidden_size] with
  /// cu_seqlens where the images' numbers differ.
  virtual EncoderOutput connect(const ConnectorInput& input) = 0;
  virtual ConnectorInfo info() const = 0;
};

enum class Logits { none, last, all };  ///< of which tokens

/// What a language model reads: ids or embeddings, and how its tokens see each other.
struct LmInput {
  Tensor ids = {};         ///< [B, T] int64; or
  Tensor embeddings = {};  ///< [B, T, D], what LanguageModel::embed makes of ids
  Tensor mask = {};        ///< [B, S] bool, true = real; S = cached tokens + T; undefined = all
  Tensor positions = {};   ///< [B or 1, T] int64; undefined = the real tokens of each row or
                           ///< segment are counted from 0
  Tensor segments = {};    ///< [B, T] int64, packing: a token sees those of its own segment only
  Tensor branches = {};    ///< [B, T] int64: in each segment, tokens of branch 0 are seen by all
                           ///< that follow, those of another branch by itself only; so questions
                           ///< about one image share its tokens. Positions go on from branch 0's
  Tensor spans = {};       ///< [B, T] int64: the tokens of one span, a number above 0, see each
                           ///< other in both directions (prefix-LM, image blocks)
  nn::KeyValueCache* cache = nullptr;  ///< earlier tokens, to which these are added
  Logits logits = Logits::all;
  std::vector<int64_t> hidden_layers = {};  ///< as in EncodeOptions
};

struct LmOutput {
  Tensor hidden = {};  ///< [B, T, E], what enters the head: through the final norm
  Tensor logits = {};  ///< [B, T, V], or [B, 1, V] of the last token; undefined with Logits::none
  std::vector<Tensor> layers = {};  ///< exactly the hidden layers that were asked for, [B, T, D]
};

/// The linear map from hidden states to logits, for losses that never build all of these.
struct LmHead {
  Tensor weight = {};     ///< [V, E]
  Tensor bias = {};       ///< [V]; undefined = none
  double soft_cap = 0.0;  ///< logits become soft_cap * tanh(logit / soft_cap); 0 = none
};

/// What a composition needs to know about a language model before it runs.
struct LmInfo {
  std::string family = {};  ///< as registered in checkpoint/lm_families, such as "llama"
  int64_t hidden_size = 0;  ///< D of embeddings and layers
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t vocab_size = 0;
  int64_t max_tokens = 0;  ///< longest input that the positions allow; 0 = no limit
};

/// Runs in front of every layer of a language model (Flamingo's cross-attention, DeepStack).
class WEFT_API LayerHook : public torch::nn::Module {
 public:
  using torch::nn::Module::Module;
  /// hidden [B, T, D], what layer `layer` (from 0) is about to read; returns what it reads instead.
  /// `slot` is where the hook may keep tensors between calls, whose rows are the batch's; null
  /// where the call has no cache.
  virtual Tensor before(int64_t layer, const Tensor& hidden, const LmInput& input,
                        std::vector<Tensor>* slot) = 0;
};

/// The socket for decoder language models.
class WEFT_API LanguageModel : public torch::nn::Module {
 public:
  using torch::nn::Module::Module;
  virtual LmOutput forward(const LmInput& input) = 0;
  /// ids [B, T] int64 -> [B, T, D].
  virtual Tensor embed(const Tensor& ids) = 0;
  virtual LmHead head() const = 0;
  virtual LmInfo info() const = 0;
  /// Adds a hook, as the submodule "hooks.<n>".
  virtual void add_hook(std::shared_ptr<LayerHook> hook) = 0;
};

}  // namespace weft
