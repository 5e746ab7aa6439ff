#include <torch/torch.h>

#include <weft/io/file.hpp>
#include <weft/nn/lora.hpp>
#include <weft/train/vlm_recipe.hpp>

#include "support/gmock.hpp"
#include "support/small_vlm.hpp"
#include "support/tensors.hpp"

namespace vlm_recipe_test {

using namespace weft::test;
using weft::Json;
using weft::checkpoint::VlmFolder;

/// The small model with a Llama as transformers configures it.
VlmFolder small_folder() {
  const auto config = Json::object({{"vocab_size", 290},
                                    {"hidden_size", 12},
                                    {"intermediate_size", 16},
                                    {"num_hidden_layers", 2},
                                    {"num_attention_heads", 2}});
  const auto small = small_vlm();
  VlmFolder out;
  out.language = {.model = weft::checkpoint::lm_families().at("llama").make(config),
                  .family = "llama",
                  .config = config};
  out.model =
      weft::models::Vlm(small->vision, small->connector, out.language.model, small->options);
  out.model->eval();
  return out;
}

TEST(VlmRecipe, NamesItsParts) {
  EXPECT_TRUE(weft::train::tunes({.tune = "vision,language"}, "language"));
  EXPECT_FALSE(weft::train::tunes({.tune = "vision,language"}, "connector"));
  EXPECT_FALSE(weft::train::tunes({.tune = "languages"}, "language"));
}

TEST(VlmRecipe, TrainsItsPartsAndAdaptersAndNothingElse) {
  for (const int64_t rank : {0, 2}) {
    auto folder = small_folder();
    weft::train::apply_recipe({.tune = "connector", .lora_rank = rank}, folder);
    int64_t adapters = 0;
    for (const auto& parameter : folder.model->named_parameters()) {
      const auto& name = parameter.key();
      const bool adapter = name.find("lora_") != std::string::npos;
      adapters += adapter;
      EXPECT_EQ(parameter.value().requires_grad(), adapter || name.starts_with("connector."))
          << name;
    }
    EXPECT_EQ(adapters > 0, rank > 0);
  }
  EXPECT_THROW(weft::train::apply_recipe({.lora_rank = -1}, small_folder()), c10::ValueError);
  // Without a rank nothing of these would happen.
  EXPECT_THAT([] { weft::train::apply_recipe({.lora_targets = {"q"}}, small_folder()); },
              ThrowsMessage<c10::ValueError>(HasSubstr("need a lora_rank")));
  EXPECT_THROW(weft::train::apply_recipe({.tune = "projector"}, small_folder()), c10::ValueError);
}

// Adapters stand in the place of their layers, also where the language model is tuned beside them:
// its embeddings, as for new tokens.
TEST(VlmRecipe, AdaptersAloneTrainTheirLayers) {
  auto folder = small_folder();
  weft::train::apply_recipe({.tune = "connector,language", .lora_rank = 2}, folder);
  EXPECT_GT(weft::nn::lora_parameters(*folder.model).size(), 0u);
  for (const auto& parameter : folder.model->language->named_parameters()) {
    const auto& name = parameter.key();
    const bool base = name.ends_with(".weight") && parameter.value().dim() == 2 &&
                      name.find("lora_") == std::string::npos &&
                      name.find("token_embed") == std::string::npos &&
                      name.find("lm_head") == std::string::npos;
    EXPECT_EQ(parameter.value().requires_grad(), !base) << name;
  }
}

TEST(VlmRecipe, RatesAreOverTheCommonOne) {
  const auto rule = weft::train::recipe_rates({.connector_lr = 4e-3, .vision_lr = 1e-4}, 1e-3);
  const auto weight = torch::zeros({2, 2});
  EXPECT_DOUBLE_EQ(rule("connector.layers_0.weight", weight).lr_scale, 4);
  EXPECT_DOUBLE_EQ(rule("vision.blocks.0.weight", weight).lr_scale, 0.1);
  EXPECT_EQ(rule("language.norm.weight", weight).lr_scale, 1);
}

TEST(VlmRecipe, AdaptersAreWrittenAndMerged) {
  const TempFolder saved;
  auto folder = small_folder();
  weft::train::apply_recipe({.lora_rank = 2}, folder);
  const torch::NoGradGuard no_grad;
  for (auto& [name, value] : weft::nn::lora_parameters(*folder.model)) value.normal_(0, 0.3);
  const auto logits = [&] {
    return folder.model->language->forward({.ids = torch::arange(1, 9, torch::kLong).view({1, 8})})
        .logits;
  };
  const auto before = logits();
  weft::train::merge_adapters(folder, saved / "adapter", "base/name");
  EXPECT_TRUE(weft::nn::lora_parameters(*folder.model).empty());
  EXPECT_TRUE(close(logits(), before, 1e-5));
  EXPECT_EQ(Json::read(saved / "adapter" / "adapter_config.json").at("base_model_name_or_path"),
            Json("base/name"));
}

}  // namespace vlm_recipe_test
