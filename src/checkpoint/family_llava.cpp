#include <weft/checkpoint/vlm_families.hpp>
#include <weft/fusion/projector.hpp>

#include "checkpoint/config_reader.hpp"
#include "checkpoint/family_list.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

TowerConfig part_of_llava(const Json& config, const char* key, const char* otherwise) {
  const auto part = config.get(key, Json::object());
  if (!part.is_object())
    fail("config.json: '{}' must be an object, found a {}", key, part.type_name());
  return {ConfigReader(part, "llava").text("model_type", otherwise), part};
}
TowerConfig llava_vision(const Json& config) {
  return part_of_llava(config, "vision_config", "clip_vision_model");
}
TowerConfig llava_language(const Json& config) {
  return part_of_llava(config, "text_config", "llama");
}

std::shared_ptr<Connector> llava_connector(const Json& config, int64_t input_size,
                                           int64_t hidden_size) {
  const ConfigReader read(config, "llava");
  return std::make_shared<fusion::ProjectorImpl>(
      fusion::ProjectorOptions{.input_size = input_size,
                               .hidden_size = hidden_size,
                               .depth = 2,
                               .activation = read.activation("projector_hidden_act", "gelu"),
                               .bias = read.boolean("multimodal_projector_bias", true)});
}

models::VlmOptions llava_options(const Json& config) {
  const ConfigReader read(config, "llava");
  models::VlmOptions out{
      .image_token = read.integer("image_token_index", read.integer("image_token_id", 32000))};
  const auto layers = config.get("vision_feature_layer", -2);
  out.vision_layers = layers.is_array() ? layers.as_ints() : std::vector{layers.as_int()};
  const auto strategy = read.text("vision_feature_select_strategy", "default");
  if (strategy != "default" && strategy != "full")
    fail(
        "config.json of the family llava: vision_feature_select_strategy must be default or full, "
        "found '{}'",
        strategy);
  out.keep_prefix = strategy == "full";
  return out;
}

KeyMap llava_map(const Json& config) {
  const auto vision = llava_vision(config), language = llava_language(config);
  KeyMap map;
  // What the first versions wrote.
  map.alias("vision_tower.vision_model.{x...}", "vision_tower.{x...}")
      .nest(families().at(vision.family).key_map(vision.config), "vision_tower.", "vision.")
      .nest(lm_families().at(language.family).key_map(language.config), "language_model.",
            "language.")
      .rename("multi_modal_projector.linear_1.{p}", "connector.layers_0.{p}")
      .rename("multi_modal_projector.linear_2.{p}", "connector.layers_1.{p}");
  return map;
}

Json llava_config(const models::VlmImpl& model, const TowerConfig& vision,
                  const TowerConfig& language) {
  const auto* projector = dynamic_cast<const fusion::ProjectorImpl*>(model.connector.get());
  if (projector == nullptr) refuse_option("llava", "another connector than a projector");
  const auto& p = projector->options;
  if (p.depth != 2 || p.shuffle != 1 || p.pool != 1 || p.norm)
    refuse_option("llava", "a projector of another depth than 2, or with shuffle, pool or norm");
  if (model.options.vision_layers.empty())
    refuse_option("llava", "the encoder's tokens through its final norm (vision_layers = [])");
  const auto L = model.vision->info().num_layers;
  std::vector<int64_t> layers;
  for (const auto layer : model.options.vision_layers) layers.push_back(layer - L - 1);
  const auto typed = [](const TowerConfig& part) {
    return Json(part.config).set("model_type", part.family);
  };
  return Json::object(
      {{"model_type", "llava"},
       {"vision_config", typed(vision)},
       {"text_config", typed(language)},
       {"image_token_index", model.options.image_token},
       {"projector_hidden_act", activation_name(p.activation)},
       {"multimodal_projector_bias", p.bias},
       {"vision_feature_layer", layers.size() == 1 ? Json(layers[0]) : Json(layers)},
       {"vision_feature_select_strategy", model.options.keep_prefix ? "full" : "default"},
       {"tie_word_embeddings", language.config.get("tie_word_embeddings", false)}});
}

}  // namespace

VlmFamily llava_family() {
  return {.architecture = "LlavaForConditionalGeneration",
          .vision = llava_vision,
          .language = llava_language,
          .vision_prefix = "vision_tower.",
          .connector = llava_connector,
          .options = llava_options,
          .key_map = llava_map,
          .module_names = {{"language_model.model.{x...}", "model.language_model.{x...}"},
                           {"language_model.lm_head.{x...}", "lm_head.{x...}"},
                           {"vision_tower.{x...}", "model.vision_tower.{x...}"},
                           {"multi_modal_projector.{x...}", "model.multi_modal_projector.{x...}"}},
          .config = llava_config};
}

Registry<VlmFamily>& vlm_families() {
  static auto registry = [] {
    Registry<VlmFamily> out("vision-language family");
    out.add("llava", llava_family());
    return out;
  }();
  return registry;
}

}  // namespace weft::checkpoint
