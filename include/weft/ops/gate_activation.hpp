#pragma once

namespace weft::ops {

/// The non-linearities of gated_linear(), by the names of nn::Activation.
enum class GateActivation {
  silu,       ///< x sigmoid(x): SwiGLU
  gelu,       ///< x Phi(x), exact: GeGLU
  gelu_tanh,  ///< its tanh approximation, Gemma's
};

}  // namespace weft::ops
