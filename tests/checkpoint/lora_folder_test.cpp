#include <torch/torch.h>

#include <weft/checkpoint/lora_folder.hpp>
#include <weft/checkpoint/tensors.hpp>
#include <weft/io/file.hpp>
#include <weft/text/decoder_lm.hpp>

#include "support/gmock.hpp"
#include "support/tensors.hpp"

namespace lora_folder_test {

using namespace weft::test;
using weft::Json;
using weft::checkpoint::add_lora;
using weft::checkpoint::LmFolder;
using weft::checkpoint::load_lora;
using weft::checkpoint::read_tensors;
using weft::checkpoint::save_lora;
using weft::checkpoint::write_tensors;

LmFolder model_of(const char* family) {
  auto config = Json::object({{"vocab_size", 23},
                              {"hidden_size", 8},
                              {"intermediate_size", 12},
                              {"num_hidden_layers", 2},
                              {"num_attention_heads", 2},
                              {"num_key_value_heads", 1}});
  if (std::string(family) == "gpt2")
    config = Json::object({{"vocab_size", 23}, {"n_embd", 8}, {"n_layer", 2}, {"n_head", 2}});
  torch::manual_seed(1);
  LmFolder out{.model = weft::checkpoint::lm_families().at(family).make(config),
               .family = family,
               .config = config};
  out.model->eval();
  return out;
}

void randomize_factors(const LmFolder& folder) {
  const at::NoGradGuard no_grad;
  for (auto& [name, value] : weft::nn::lora_parameters(*folder.model)) value.normal_(0, 0.3);
}

at::Tensor logits(const LmFolder& folder) {
  const at::NoGradGuard no_grad;
  return folder.model->forward({.ids = torch::arange(1, 11, torch::kLong).view({1, 10})}).logits;
}

TEST(LoraFolder, TargetsMayBeHuggingFacesNames) {
  EXPECT_THAT(add_lora(model_of("llama"), {.rank = 1, .targets = {"q_proj"}}),
              ElementsAre("blocks.0.attention.q", "blocks.1.attention.q"));
  EXPECT_THAT(add_lora(model_of("llama"), {.rank = 1,
                                           .targets = {R"(model\.layers\.1\.mlp\..*)", "q"},
                                           .exclude = {"down_proj", "blocks.0.attention.q"}}),
              ElementsAre("blocks.1.attention.q", "blocks.1.mlp.gate", "blocks.1.mlp.fc1"));
  EXPECT_THAT(add_lora(model_of("gpt2"), {.rank = 1, .targets = {"h.0.attn.c_attn"}}),
              ElementsAre("blocks.0.attention.q", "blocks.0.attention.k", "blocks.0.attention.v"));
  EXPECT_THAT(add_lora(model_of("phi3"), {.rank = 1, .targets = {"layers.1.mlp.gate_up_proj"}}),
              ElementsAre("blocks.1.mlp.gate", "blocks.1.mlp.fc1"));
}

TEST(LoraFolder, WhatIsSavedIsWhatIsLoaded) {
  for (const auto* family : {"llama", "gpt2", "phi3"}) {
    SCOPED_TRACE(family);
    const TempFolder saved;
    const auto folder = model_of(family);
    const auto names =
        add_lora(folder, {.rank = 3, .alpha = 7, .dropout = 0.2, .use_rslora = true});
    randomize_factors(folder);
    save_lora(folder, saved / "adapter", "base/name");
    const auto config = Json::read(saved / "adapter" / "adapter_config.json");
    EXPECT_EQ(config.at("base_model_name_or_path"), Json("base/name"));
    EXPECT_EQ(config.at("lora_dropout"), Json(0.2));
    EXPECT_EQ(config.at("use_rslora"), Json(true));
    EXPECT_EQ(config.at("task_type"), Json("CAUSAL_LM"));
    EXPECT_EQ(config.at("fan_in_fan_out"), Json(std::string(family) == "gpt2"));

    const auto again = model_of(family);
    EXPECT_THAT(load_lora(again, saved / "adapter"), testing::UnorderedElementsAreArray(names));
    EXPECT_TRUE(close(logits(again), logits(folder), 1e-5));
    const auto& lora = weft::nn::linear_layers(*again.model).front().second->lora();
    EXPECT_EQ(lora->dropout, 0.2);
    EXPECT_TRUE(lora->use_rslora);

    // Loaded parts read through one A, so that nothing grows when they are saved again.
    save_lora(again, saved / "second");
    const auto first = read_tensors(saved / "adapter" / "adapter_model.safetensors");
    const auto second = read_tensors(saved / "second" / "adapter_model.safetensors");
    ASSERT_EQ(first.size(), second.size());
    for (const auto& [name, tensor] : first) EXPECT_TRUE(torch::equal(tensor, second.at(name)));
  }
}

TEST(LoraFolder, FusedPartsOfTheirOwnReadTheirOwnRowsOfA) {
  const TempFolder saved;
  const auto folder = model_of("gpt2");
  add_lora(folder, {.rank = 2, .alpha = 6, .targets = {"blocks.1.attention.q"}});
  add_lora(folder, {.rank = 1, .alpha = 5, .targets = {"blocks.1.attention.v"}});
  randomize_factors(folder);
  save_lora(folder, saved / "adapter");
  const auto tensors = read_tensors(saved / "adapter" / "adapter_model.safetensors");
  ASSERT_EQ(tensors.size(), 2u);
  const std::string name = "base_model.model.transformer.h.1.attn.c_attn.lora_";
  const auto &A = tensors.at(name + "A.weight"), &B = tensors.at(name + "B.weight");
  const auto config = Json::read(saved / "adapter" / "adapter_config.json");
  EXPECT_EQ(config.at("r"), Json(3));
  EXPECT_EQ(config.at("lora_alpha"), Json(9));  // 6 / 2 = 9 / 3
  std::map<std::string, weft::nn::Linear> layers;
  for (const auto& [layer, linear] : weft::nn::linear_layers(*folder.model))
    layers.emplace(layer, linear);
  const auto product = [&](const char* layer) {
    const auto& lora = *layers.at(layer)->lora();
    return lora.scaling() * lora.b->weight.matmul(lora.a->weight);
  };
  const auto zero = torch::zeros({8, 8});
  EXPECT_TRUE(close(
      3 * B.matmul(A),
      torch::cat({product("blocks.1.attention.q"), zero, product("blocks.1.attention.v")}), 1e-6));
}

TEST(LoraFolder, AModelIsNotSavedWithAdaptersThatAreNotMerged) {
  const TempFolder saved;
  const auto folder = model_of("llama");
  add_lora(folder, {.rank = 1, .targets = {"q"}});
  EXPECT_THAT([&] { weft::checkpoint::save_language_model(folder, saved / "model"); },
              ThrowsMessage<weft::Error>(AllOf(HasSubstr("blocks.0.attention.q.lora_A.weight"),
                                               HasSubstr("nn::merge_lora"),
                                               HasSubstr("checkpoint::save_lora"))));
  EXPECT_FALSE(std::filesystem::exists(saved / "model"));
  weft::nn::merge_lora(*folder.model);
  weft::checkpoint::save_language_model(folder, saved / "model");
}

TEST(LoraFolder, WhatTheLayoutCannotHoldIsRefusedByName) {
  const TempFolder saved;
  auto folder = model_of("llama");
  EXPECT_THAT([&] { save_lora(folder, saved / "adapter"); },
              ThrowsMessage<weft::Error>(HasSubstr("no adapter to save; put one on")));
  // Llama has no maps around its layers.
  folder.model = std::make_shared<weft::text::DecoderLmImpl>(
      weft::text::DecoderLmOptions{.vocab_size = 23,
                                   .num_layers = 1,
                                   .block = {.attention = {.hidden_size = 8, .num_heads = 2},
                                             .mlp = {.hidden_size = 8, .intermediate_size = 12}},
                                   .embed_size = 6});
  add_lora(folder, {.rank = 1, .targets = {"q", "project_in"}});
  EXPECT_THAT([&] { save_lora(folder, saved / "adapter"); },
              ThrowsMessage<weft::Error>(AllOf(HasSubstr("no matrix of its own for project_in"),
                                               HasSubstr("LoraOptions::exclude"))));
  EXPECT_FALSE(std::filesystem::exists(saved / "adapter"));
}

struct Adapter {
  Adapter() {
    const auto folder = model_of("llama");
    add_lora(folder, {.rank = 2, .alpha = 4, .dropout = 0, .targets = {"q_proj", "up_proj"}});
    randomize_factors(folder);
    save_lora(folder, path());
  }
  std::filesystem::path path() const { return saved / "adapter"; }
  void set(const char* key, const Json& value) const {
    auto config = Json::read(path() / "adapter_config.json");
    config.set(key, value).write(path() / "adapter_config.json");
  }
  void expect(const testing::Matcher<std::string>& message) const {
    const auto folder = model_of("llama");
    EXPECT_THAT([&] { load_lora(folder, path()); }, ThrowsMessage<weft::Error>(message));
    EXPECT_TRUE(weft::nn::lora_parameters(*folder.model).empty());
  }
  TempFolder saved;
};

TEST(LoraFolder, MoreThanLoraIsRefusedByField) {
  const std::vector<std::pair<const char*, Json>> fields = {
      {"use_dora", true},
      {"bias", "all"},
      {"modules_to_save", std::vector<std::string>{"lm_head"}},
      {"lora_bias", true},
      {"peft_type", "LOHA"},
      {"init_lora_weights", "pissa"},
      {"layer_replication", Json::parse("[[0, 1]]")},
      {"lora_dropout", 1.0}};
  for (const auto& [field, value] : fields) {
    const Adapter adapter;
    adapter.set(field, value);
    adapter.expect(AllOf(HasSubstr("adapter_config.json"), HasSubstr(field)));
  }
}

TEST(LoraFolder, PatternsTellRankAndAlpha) {
  const Adapter adapter;
  adapter.set("r", 9);
  adapter.expect(HasSubstr("expected [9, 8], found [2, 8]"));
  adapter.set("rank_pattern", Json::object({{"q_proj", 2}, {R"(layers\.\d\.mlp\.up_proj)", 2}}));
  adapter.set("alpha_pattern", Json::object({{"^model.layers.1.self_attn.q_proj", 10}}));
  const auto folder = model_of("llama");
  load_lora(folder, adapter.path());
  for (const auto& [name, layer] : weft::nn::linear_layers(*folder.model)) {
    if (!layer->lora()) continue;
    EXPECT_EQ(layer->lora()->scaling(), name == "blocks.1.attention.q" ? 5 : 2) << name;
  }
  adapter.set("rank_pattern", Json::object({{"(q", 2}}));
  adapter.expect(AllOf(HasSubstr("rank_pattern"), HasSubstr("'(q' is no regular expression")));
  adapter.set("rank_pattern", Json::object({{".*", 0}}));
  adapter.expect(HasSubstr("must be positive, found 0"));
}

TEST(LoraFolder, WeightsThatDoNotFitAreOneErrorThatListsThemAll) {
  const Adapter adapter;
  auto tensors = read_tensors(adapter.path() / "adapter_model.safetensors");
  const std::string layer = "base_model.model.model.layers.0.";
  tensors.erase(layer + "self_attn.q_proj.lora_B.weight");
  tensors[layer + "mlp.up_proj.lora_B.weight"] = torch::zeros({11, 2});
  tensors[layer + "mlp.middle_proj.lora_A.weight"] = torch::zeros({2, 8});
  tensors["base_model.model.model.embed_tokens.lora_embedding_A"] = torch::zeros({2, 23});
  write_tensors(adapter.path() / "adapter_model.safetensors", tensors);
  adapter.expect(AllOf(HasSubstr("does not fit the model (4)"),
                       HasSubstr("model.layers.0.self_attn.q_proj: only one of both factors"),
                       HasSubstr("up_proj.lora_B.weight: expected [12, 2], found [11, 2]"),
                       HasSubstr("the model has no linear layer model.layers.0.mlp.middle_proj"),
                       HasSubstr("lora_embedding_A [2, 23]: not a factor of an adapter")));
}

// PEFT writes one beside the adapter of a head.
TEST(LoraFolder, AWeightOfTheBaseModelMustBeItsOwn) {
  const Adapter adapter;
  const auto file = adapter.path() / "adapter_model.safetensors";
  auto tensors = read_tensors(file);
  const auto folder = model_of("llama");
  auto& weight = tensors["base_model.model.lm_head.base_layer.weight"];
  weight = folder.model->head().weight.detach().clone();
  write_tensors(file, tensors);
  EXPECT_EQ(load_lora(folder, adapter.path()).size(), 4u);
  weight[3][2] += 1;
  write_tensors(file, tensors);
  adapter.expect(HasSubstr("lm_head.base_layer.weight [23, 8]: not the weight of the model"));
  weight = torch::zeros({25, 8});
  write_tensors(file, tensors);
  adapter.expect(HasSubstr("[25, 8]: not the weight of the model, whose shape is [23, 8]"));
}

TEST(LoraFolder, ASecondAdapterOnALayerIsRefused) {
  const Adapter adapter;
  const auto folder = model_of("llama");
  load_lora(folder, adapter.path());
  EXPECT_THAT([&] { load_lora(folder, adapter.path()); },
              ThrowsMessage<weft::Error>(
                  HasSubstr("blocks.0.attention.q has an adapter already; merge or remove it")));
}

TEST(LoraFolder, FoldersWithoutItsFilesAreErrors) {
  const TempFolder empty;
  const auto folder = model_of("llama");
  EXPECT_THAT([&] { load_lora(folder, empty / "nothing"); },
              ThrowsMessage<weft::Error>(HasSubstr("found nothing")));
  const Adapter adapter;
  std::filesystem::rename(adapter.path() / "adapter_model.safetensors",
                          adapter.path() / "adapter_model.bin");
  adapter.expect(HasSubstr("safe_serialization=True"));
}

}  // namespace lora_folder_test
