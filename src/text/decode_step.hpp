#pragma once

#include <optional>

#include <weft/text/decoder_lm.hpp>

namespace weft::text {

/// The fast path of generation: one token a row, on the CPU, without gradients or autocast, for
/// decoders of Llama's kind (pre-norm, RMSNorm, gated, rotary). The plain path is its reference.
bool decode_step_applies(const DecoderLmImpl& model, const LmInput& input, const at::Tensor& x);

/// What layer i sees: the rotation and how many of the last tokens; 0 = all.
struct DecodeSight {
  nn::Rotation rotation = {};
  int64_t window = 0;
};

/// x [B, 1, D] through all layers, whose keys and values join the cache, and the final norm.
/// mask [B, S] bool or undefined. Returns [B, 1, D] fp32.
at::Tensor decode_step(DecoderLmImpl& model, const at::Tensor& x, const at::Tensor& mask,
                       const std::vector<DecodeSight>& sights, nn::KeyValueCache& cache);

/// hidden [B, 1, D] fp32 -> [B, 1, V] fp32.
at::Tensor decode_logits(const at::Tensor& hidden, const LmHead& head);

}  // namespace weft::text
