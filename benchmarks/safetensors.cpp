// Opening a safetensors file: lazily (every tensor as a view of the mapping), and with every byte
// read.
#include <ATen/ops/from_blob.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/tensor.h>

#include <weft/io/safetensors.hpp>

#include "works.hpp"

namespace weft::benchmarks {

Work read_safetensors(const Json& args) {
  return [path = args.at("path").as_string(), touch = args.at("touch").as_bool()] {
    const auto file = io::Safetensors::open(path);
    std::vector<at::Tensor> tensors;
    for (const auto& view : file.tensors())
      tensors.push_back(
          at::from_blob(const_cast<std::byte*>(view.data.data()), view.shape, at::kFloat));
    if (!touch) return Outputs{{"count", at::tensor(static_cast<int64_t>(tensors.size()))}};
    for (auto& tensor : tensors) tensor = tensor.sum();
    return Outputs{{"sums", at::stack(tensors)}};
  };
}

}  // namespace weft::benchmarks
