#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <weft/core/export.hpp>

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

}  // namespace weft
