// An encoder with a Hugging Face folder's weights over batches that were prepared: images to their
// tokens, texts to the mean of theirs.
#include <optional>

#include <c10/core/InferenceMode.h>

#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/nn/autocast.hpp>
#include <weft/nn/pooling.hpp>

#include "works.hpp"

namespace weft::benchmarks {

Work encode(const Json& args) {
  const auto encoder = checkpoint::load_encoder(args.at("model").as_string()).encoder;
  const auto tensors = read_tensors(args.at("inputs").as_string());
  const bool bf16 = args.at("precision").as_string() == "bf16";
  std::vector<EncoderInput> batches;
  for (size_t i = 0; tensors.count("ids." + std::to_string(i)); ++i)
    batches.push_back({.data = tensors.at("ids." + std::to_string(i)),
                       .mask = tensors.at("mask." + std::to_string(i)).to(at::kBool)});
  const bool text = !batches.empty();
  if (!text) batches.push_back({.data = tensors.at("pixels")});
  return [=] {
    const c10::InferenceMode inference;
    std::optional<nn::AutocastGuard> autocast;
    if (bf16) autocast.emplace(at::kCPU);
    Outputs out;
    for (size_t i = 0; i < batches.size(); ++i) {
      const auto encoded = encoder->encode(batches[i]);
      out["output." + std::to_string(i)] =
          text ? nn::pool(encoded, nn::Pooling::mean) : encoded.tokens;
    }
    return out;
  };
}

}  // namespace weft::benchmarks
