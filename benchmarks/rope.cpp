// Rotary positions of queries and keys, forward and backward.
#include <torch/types.h>

#include <weft/ops/rope.hpp>

#include "works.hpp"

namespace weft::benchmarks {

Work rope(const Json& args) {
  const auto inputs = read_tensors(args.at("inputs").as_string());
  const auto type = args.at("precision").as_string() == "bf16" ? at::kBFloat16 : at::kFloat;
  const auto leaf = [&](const char* name) {
    return inputs.at(name).to(type).requires_grad_(true);  // [B, T, H, D]
  };
  const auto q = leaf("q"), k = leaf("k");
  const auto tables = ops::rope_tables(inputs.at("positions"), inputs.at("inv_freq"));
  return [q, k, tables] {
    Outputs out;
    for (const auto& [name, x] : {std::pair("q", q), std::pair("k", k)}) {
      x.mutable_grad().reset();
      const auto turned = ops::rope(x.transpose(1, 2), tables.cos, tables.sin);
      turned.backward(turned.detach());
      out[name] = turned;
      out[std::string(name) + "_grad"] = x.grad();
    }
    return out;
  };
}

}  // namespace weft::benchmarks
