// RMSNorm of a language model's tokens, forward and backward.
#include <torch/types.h>

#include <weft/ops/rms_norm.hpp>

#include "works.hpp"

namespace weft::benchmarks {

Work rms_norm(const Json& args) {
  const auto inputs = read_tensors(args.at("inputs").as_string());
  const auto type = args.at("precision").as_string() == "bf16" ? at::kBFloat16 : at::kFloat;
  const auto x = inputs.at("x").to(type).requires_grad_(true);
  const auto weight = inputs.at("weight").to(type).requires_grad_(true);
  const auto above = inputs.at("above").to(type);
  return [x, weight, above] {
    x.mutable_grad().reset();
    weight.mutable_grad().reset();
    const auto out = ops::rms_norm(x, weight, 1e-5);
    out.backward(above);
    return Outputs{{"out", out}, {"x_grad", x.grad()}, {"weight_grad", weight.grad()}};
  };
}

}  // namespace weft::benchmarks
