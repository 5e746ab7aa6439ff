#pragma once

#include <weft/nn/sockets.hpp>

/// Which token of a decoder stands where and sees which: what forward() derives from its input.
/// T tokens follow `past` cached ones; S = past + T.
namespace weft::text {

/// Throws c10::ValueError naming the member whose shape does not fit.
void check_lm_input(const LmInput& input, int64_t B, int64_t T, int64_t past);

/// [B or 1, T] int64: real tokens counted from 0, in each segment and branch where there are any;
/// padding has the position of the real token before it.
at::Tensor lm_positions(const LmInput& input, int64_t T, int64_t past, at::Device device);

/// [B or 1, 1, T, S] bool, true = may attend; undefined where plain causal order says it all.
/// window > 0: a token sees the last `window` tokens, itself included, besides its span. Every
/// token sees itself, so that rows of padding have a softmax.
at::Tensor lm_mask(const LmInput& input, int64_t B, int64_t T, int64_t past, int64_t window,
                   at::Device device);

}  // namespace weft::text
