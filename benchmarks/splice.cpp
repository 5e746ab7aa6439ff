// Visual tokens at their placeholders, forward and backward.
#include <torch/types.h>

#include <weft/ops/splice.hpp>

#include "works.hpp"

namespace weft::benchmarks {

Work splice(const Json& args) {
  const auto inputs = read_tensors(args.at("inputs").as_string());
  const auto leaf = [&](const char* name) {
    return inputs.at(name).to(at::kBFloat16).requires_grad_(true);
  };
  const auto embeddings = leaf("embeddings"), visual = leaf("visual");
  const auto ids = inputs.at("ids");
  const auto above = embeddings.detach().clone();
  return [embeddings, visual, ids, above] {
    for (const auto& x : {embeddings, visual}) x.mutable_grad().reset();
    const auto out = ops::splice(embeddings, visual, ids.eq(0));
    out.backward(above);
    return Outputs{
        {"out", out}, {"embeddings_grad", embeddings.grad()}, {"visual_grad", visual.grad()}};
  };
}

}  // namespace weft::benchmarks
