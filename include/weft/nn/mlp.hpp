#pragma once

#include <weft/nn/activations.hpp>
#include <weft/nn/linear.hpp>
#include <weft/ops/gated_linear.hpp>

namespace weft::nn {

struct MlpOptions {
  int64_t hidden_size;        ///< D
  int64_t intermediate_size;  ///< width inside
  Activation activation = Activation::gelu;
  bool gated = false;  ///< fc2(act(gate(x)) * fc1(x)): SwiGLU with silu (Shazeer, 2020)
  bool bias = true;
  double init_std = 0.02;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("hidden_size", o.hidden_size, required);
    v("intermediate_size", o.intermediate_size, required);
    v("activation", o.activation);
    v("gated", o.gated);
    v("bias", o.bias);
    v("init_std", o.init_std);
  }
};

/// The feed-forward layer of a transformer: fc2(act(fc1(x))), or gated, by ops::gated_linear()
/// where it has the activation and fc2 no adapter.
class WEFT_API MlpImpl : public torch::nn::Module {
 public:
  explicit MlpImpl(const MlpOptions& o) : options(o) {
    const auto linear = [&](const char* name, int64_t in, int64_t out) {
      return register_module(name, Linear(LinearOptions{in, out, o.bias, o.init_std}));
    };
    if (o.gated) gate = linear("gate", o.hidden_size, o.intermediate_size);
    fc1 = linear("fc1", o.hidden_size, o.intermediate_size);
    fc2 = linear("fc2", o.intermediate_size, o.hidden_size);
  }

  /// x [..., D] -> [..., D].
  torch::Tensor forward(const torch::Tensor& x) {
    if (!options.gated) return fc2(activate(fc1(x), options.activation));
    const auto activation = gate_activation(options.activation);
    if (activation && !fc2->lora())
      return ops::gated_linear(gate(x), fc1(x), fc2->weight, fc2->bias, *activation);
    return fc2(activate(gate(x), options.activation) * fc1(x));
  }

  MlpOptions options;
  Linear gate{nullptr}, fc1{nullptr}, fc2{nullptr};
};
WEFT_MODULE(Mlp);

}  // namespace weft::nn
