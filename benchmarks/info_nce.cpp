// The contrastive loss, forward and backward.
#include <torch/types.h>

#include <weft/ops/info_nce.hpp>

#include "works.hpp"

namespace weft::benchmarks {

Work info_nce(const Json& args) {
  auto inputs = read_tensors(args.at("inputs").as_string());
  for (auto& [name, value] : inputs) value.set_requires_grad(true);
  return [inputs] {
    const auto &image = inputs.at("image"), &text = inputs.at("text"), &scale = inputs.at("scale");
    for (const auto& [name, value] : inputs) value.mutable_grad().reset();
    const auto loss = ops::info_nce(image, text, scale);
    loss.backward();
    return Outputs{{"loss", loss},
                   {"image_grad", image.grad()},
                   {"text_grad", text.grad()},
                   {"scale_grad", scale.grad()}};
  };
}

}  // namespace weft::benchmarks
