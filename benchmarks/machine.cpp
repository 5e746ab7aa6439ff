// What the machine gives at most, measured beside the rows: matrix products and a copy.
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>

#include "works.hpp"

namespace weft::benchmarks {

Work matrix_product(const Json& args) {
  const auto type = args.at("precision").as_string() == "bf16" ? at::kBFloat16 : at::kFloat;
  const auto n = args.at("size").as_int();
  const auto a = at::randn({n, n}).to(type), b = at::randn({n, n}).to(type);
  return [a, b] {
    at::mm(a, b);
    return Outputs{};
  };
}

Work copy(const Json& args) {
  const auto from = at::ones({args.at("bytes").as_int()}, at::kByte), to = at::empty_like(from);
  return [from, to] {
    to.copy_(from);
    return Outputs{};
  };
}

}  // namespace weft::benchmarks
