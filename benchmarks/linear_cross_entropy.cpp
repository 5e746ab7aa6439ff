// A language model's head and its loss, forward and backward.
#include <torch/types.h>

#include <weft/ops/linear_cross_entropy.hpp>

#include "works.hpp"

namespace weft::benchmarks {

Work linear_cross_entropy(const Json& args) {
  auto inputs = read_tensors(args.at("inputs").as_string());
  const auto type = args.at("precision").as_string() == "bf16" ? at::kBFloat16 : at::kFloat;
  const auto x = inputs.at("x").to(type).requires_grad_(true);
  const auto weight = inputs.at("weight").to(type).requires_grad_(true);
  const auto labels = inputs.at("labels." + std::to_string(args.at("labelled").as_int()));
  return [x, weight, labels] {
    for (const auto& leaf : {x, weight}) leaf.mutable_grad().reset();
    const auto loss = ops::linear_cross_entropy(x, weight, labels);
    loss.backward();
    return Outputs{{"loss", loss}, {"x_grad", x.grad()}, {"weight_grad", weight.grad()}};
  };
}

}  // namespace weft::benchmarks
