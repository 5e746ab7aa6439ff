#pragma once

#include <optional>
#include <string_view>

#include <ATen/core/Tensor.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tanh.h>

#include <weft/core/options.hpp>
#include <weft/ops/gate_activation.hpp>

namespace weft::nn {

/// Pointwise non-linearities. The two GELUs differ by up to 5e-4 and quick_gelu by 2e-2: take the
/// one that the checkpoint was trained with.
enum class Activation {
  gelu,        ///< x Phi(x), exact (Hendrycks & Gimpel, 2016)
  gelu_tanh,   ///< its tanh approximation
  quick_gelu,  ///< x sigmoid(1.702 x), OpenAI's CLIP
  relu,
  silu,
  tanh,
};

/// Applies `activation` element by element; the shape and type stay.
inline at::Tensor activate(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::gelu:
      return at::gelu(x);
    case Activation::gelu_tanh:
      return at::gelu(x, "tanh");
    case Activation::quick_gelu:
      return x * at::sigmoid(x * 1.702);
    case Activation::relu:
      return at::relu(x);
    case Activation::silu:
      return at::silu(x);
    case Activation::tanh:
      return at::tanh(x);
  }
  TORCH_CHECK_VALUE(false, "activate: unknown activation ", static_cast<int>(activation));
}

/// The same as ops::gated_linear() names it, or nothing where it has none.
inline std::optional<ops::GateActivation> gate_activation(Activation activation) {
  switch (activation) {
    case Activation::silu:
      return ops::GateActivation::silu;
    case Activation::gelu:
      return ops::GateActivation::gelu;
    case Activation::gelu_tanh:
      return ops::GateActivation::gelu_tanh;
    default:
      return std::nullopt;
  }
}

}  // namespace weft::nn

template <>
inline constexpr std::string_view weft::enum_names<weft::nn::Activation>[] = {
    "gelu", "gelu_tanh", "quick_gelu", "relu", "silu", "tanh"};
