#pragma once

#include <string_view>

#include <ATen/core/Tensor.h>

#include <weft/core/options.hpp>
#include <weft/nn/sockets.hpp>

namespace weft::nn {

/// One vector an input, from an encoder's output.
enum class Pooling {
  encoder,   ///< what the encoder itself pools
  cls,       ///< the first token
  mean,      ///< the mean over real tokens, without class and register tokens of images
  cls_mean,  ///< cls beside mean
  last,      ///< the last real token
  eot,       ///< the end-of-text token, which only a text encoder can find (its option pooling)
  map,       ///< attention pooling (nn/attention_pool.hpp), whose weights are the encoder's
};

/// Pools `output` into [B, pooled_size(info, pooling)]; sums run in fp32. Every row needs a real
/// token. eot and map are refused: they are what Pooling::encoder gives of an encoder with that
/// option.
WEFT_API at::Tensor pool(const EncoderOutput& output, Pooling pooling);

/// Width of the result. Refuses poolings that the encoder cannot give.
WEFT_API int64_t pooled_size(const EncoderInfo& info, Pooling pooling);

/// rows [..., E] over their lengths (a row of zeros stays one), in fp32 at least.
WEFT_API at::Tensor unit_rows(const at::Tensor& rows);

}  // namespace weft::nn

template <>
inline constexpr std::string_view weft::enum_names<weft::nn::Pooling>[] = {
    "encoder", "cls", "mean", "cls+mean", "last", "eot", "map"};
