// A language model at batch 1: tokens that are given come one by one behind a prompt, as in
// generation; or a prompt comes whole.
#include <c10/core/InferenceMode.h>

#include <weft/checkpoint/lm_folder.hpp>

#include "works.hpp"

namespace weft::benchmarks {
namespace {

std::shared_ptr<LanguageModel> model_of(const Json& args) {
  const bool bf16 = args.at("precision").as_string() == "bf16";
  return checkpoint::load_language_model(args.at("model").as_string(),
                                         bf16 ? at::kBFloat16 : at::kFloat)
      .model;
}

}  // namespace

Work decode(const Json& args) {
  const auto model = model_of(args);
  const auto ids = read_tensors(args.at("inputs").as_string()).at("ids");
  const auto prompt = args.at("prompt").as_int();
  const auto cache = std::make_shared<nn::KeyValueCache>();
  cache->reserve(model->info().num_layers, ids.size(1));
  const c10::InferenceMode inference;
  model->forward({.ids = ids.narrow(1, 0, prompt), .cache = cache.get(), .logits = Logits::none});
  return [=] {
    const c10::InferenceMode still;
    cache->truncate(prompt);
    Outputs out;
    for (auto t = prompt; t < ids.size(1); ++t)
      out["logits"] =
          model->forward({.ids = ids.narrow(1, t, 1), .cache = cache.get(), .logits = Logits::last})
              .logits;
    return out;
  };
}

Work prefill(const Json& args) {
  const auto model = model_of(args);
  const auto ids = read_tensors(args.at("inputs").as_string()).at("ids");
  return [=] {
    const c10::InferenceMode inference;
    nn::KeyValueCache cache;
    return Outputs{
        {"logits", model->forward({.ids = ids, .cache = &cache, .logits = Logits::last}).logits}};
  };
}

}  // namespace weft::benchmarks
