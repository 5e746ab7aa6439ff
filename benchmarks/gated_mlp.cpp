// The feed-forward layer of a decoder, SwiGLU, forward and backward.
#include <torch/types.h>

#include <weft/nn/mlp.hpp>

#include "works.hpp"

namespace weft::benchmarks {

Work gated_mlp(const Json& args) {
  const auto inputs = read_tensors(args.at("inputs").as_string());
  const auto type = args.at("precision").as_string() == "bf16" ? at::kBFloat16 : at::kFloat;
  const nn::NoInitGuard no_init;
  const auto& down = inputs.at("down");  // [D, I]
  nn::Mlp mlp({.hidden_size = down.size(0),
               .intermediate_size = down.size(1),
               .activation = nn::Activation::silu,
               .gated = true,
               .bias = false});
  mlp->to(type);
  const std::map<std::string, at::Tensor> weights = {
      {"gate", mlp->gate->weight}, {"up", mlp->fc1->weight}, {"down", mlp->fc2->weight}};
  {
    const at::NoGradGuard no_grad;
    for (const auto& [name, weight] : weights) weight.copy_(inputs.at(name));
  }
  const auto x = inputs.at("x").to(type).requires_grad_(true);
  const auto above = inputs.at("above").to(type);
  return [mlp, weights, x, above]() mutable {
    mlp->zero_grad();
    x.mutable_grad().reset();
    const auto out = mlp(x);
    out.backward(above);
    Outputs made = {{"out", out}, {"x_grad", x.grad()}};
    for (const auto& [name, weight] : weights) made[name + "_grad"] = weight.grad();
    return made;
  };
}

}  // namespace weft::benchmarks
