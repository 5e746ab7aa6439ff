#pragma once

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/nn/pooling.hpp>
#include <weft/nn/sockets.hpp>

namespace weft::eval {

/// Which patches an image's vector rests on, by attention rollout (report/attention.hpp) through
/// all layers of a vision transformer: the class token's row of it, the mean of the patches' rows
/// where those are pooled, or the attention pooling's own weights in front of it. `pooling` is what
/// makes the vector of the tokens. pixels [B, 3, H, W] as Encoder takes them. Returns
/// [B, H / patch, W / patch] fp32. Throws c10::ValueError for an encoder without patches.
WEFT_API at::Tensor attention_maps(Encoder& encoder, const at::Tensor& pixels,
                                   nn::Pooling pooling = nn::Pooling::encoder);

}  // namespace weft::eval
