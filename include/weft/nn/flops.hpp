#pragma once

#include <cstdint>
#include <string_view>

#include <weft/nn/sockets.hpp>

namespace weft::nn {

/// Tokens that an encoder's blocks see of one input: class, register and patch tokens at its image
/// size, or the longest text that its positions allow.
inline int64_t input_tokens(const EncoderInfo& info) {
  if (info.patch_size <= 0) return info.max_tokens;
  const auto side = info.image_size / info.patch_size;
  return info.prefix + side * side;
}

/// Multiplications and additions of one input: every matrix of the blocks and the patch embedding
/// once a token, the pooler once, and the two products of attention. Embedding tables are looked
/// up, not multiplied; norms, activations and an encoder's other heads are left out. 0 where no
/// text is the longest.
inline double flops(const Encoder& encoder) {
  const auto info = encoder.info();
  const auto tokens = static_cast<double>(input_tokens(info));
  const auto patches = tokens - static_cast<double>(info.prefix);
  double sum = 4 * tokens * tokens * static_cast<double>(info.hidden_size * info.num_layers);
  for (const auto& item : encoder.named_parameters()) {
    if (item.value().dim() < 2) continue;
    constexpr std::string_view kDecoder = "language.";  // of text/lm_encoder.hpp
    std::string_view name = item.key();
    if (name.starts_with(kDecoder)) name.remove_prefix(kDecoder.size());
    double times = 0;
    if (name.starts_with("blocks.")) times = tokens;
    if (name.starts_with("patch_embed.")) times = patches;
    if (name.starts_with("pooler.")) times = 1;
    sum += 2 * times * static_cast<double>(item.value().numel());
  }
  return sum;
}

}  // namespace weft::nn
