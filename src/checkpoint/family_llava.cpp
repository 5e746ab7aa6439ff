#include <weft/checkpoint/vlm_families.hpp>

#include "checkpoint/config_reader.hpp"
#include "checkpoint/family_list.hpp"
#include "checkpoint/llava_layout.hpp"
#include "checkpoint/vlm_parts.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

TowerConfig llava_vision(const Json& config, const LlavaLayout& layout) {
  return part_config(config, "vision_config", layout.vision,
                     layout.vision.at("model_type").as_string());
}

TowerConfig llava_language(const Json& config, const LlavaLayout& layout) {
  return part_config(config, "text_config", Json::object(), layout.text);
}

models::VlmOptions llava_options(const Json& config, const LlavaLayout& layout) {
  const ConfigReader read(config, layout.family);
  models::VlmOptions out{
      .image_token =
          read.integer("image_token_index", read.integer("image_token_id", layout.image_token))};
  const auto layers = config.get("vision_feature_layer", layout.feature_layer);
  out.vision_layers = layers.is_array() ? layers.as_ints() : std::vector{layers.as_int()};
  const auto strategy = read.text("vision_feature_select_strategy", layout.strategy);
  if (strategy != "default" && strategy != "full")
    fail(
        "config.json of the family {}: vision_feature_select_strategy must be default or full, "
        "found '{}'",
        layout.family, strategy);
  out.keep_prefix = strategy == "full";
  if (!out.keep_prefix && llava_vision(config, layout).family == "siglip_vision_model")
    fail(
        "config.json of the family {}: vision_feature_select_strategy 'default' takes the first "
        "patch from a siglip_vision_model, which has no class token; set it to 'full'",
        layout.family);
  return out;
}

KeyMap llava_map(const Json& config, const LlavaLayout& layout) {
  auto map = llava_towers(llava_vision(config, layout), llava_language(config, layout));
  map.rename("multi_modal_projector.linear_1.{p}", layout.projector + "layers_0.{p}")
      .rename("multi_modal_projector.linear_2.{p}", layout.projector + "layers_1.{p}");
  return map;
}

}  // namespace

KeyMap llava_towers(const TowerConfig& vision, const TowerConfig& language) {
  KeyMap map;
  // What the first versions wrote.
  map.alias("vision_tower.vision_model.{x...}", "vision_tower.{x...}")
      .nest(families().at(vision.family).key_map(vision.config), "vision_tower.", "vision.")
      .nest(lm_families().at(language.family).key_map(language.config), "language_model.",
            "language.");
  return map;
}

Json clip_336_config() {
  return Json::object({{"model_type", "clip_vision_model"},
                       {"intermediate_size", 4096},
                       {"hidden_size", 1024},
                       {"patch_size", 14},
                       {"image_size", 336},
                       {"num_hidden_layers", 24},
                       {"num_attention_heads", 16},
                       {"projection_dim", 768}});
}

std::shared_ptr<fusion::ProjectorImpl> llava_projector(const Json& config,
                                                       const std::string& family,
                                                       int64_t input_size, int64_t hidden_size) {
  const ConfigReader read(config, family);
  return std::make_shared<fusion::ProjectorImpl>(
      fusion::ProjectorOptions{.input_size = input_size,
                               .hidden_size = hidden_size,
                               .depth = 2,
                               .activation = read.activation("projector_hidden_act", "gelu"),
                               .bias = read.boolean("multimodal_projector_bias", true)});
}

Json llava_config(const models::VlmImpl& model, const Connector& between, const TowerConfig& vision,
                  const TowerConfig& language, const LlavaLayout& layout) {
  const auto& family = layout.family;
  const auto* projector = dynamic_cast<const fusion::ProjectorImpl*>(&between);
  if (projector == nullptr) refuse_option(family, "another connector than a projector");
  const auto& p = projector->options;
  if (p.depth != 2 || p.shuffle != 1 || p.pool != 1 || p.norm)
    refuse_option(family, "a projector of another depth than 2, or with shuffle, pool or norm");
  if (model.options.vision_layers.empty())
    refuse_option(family, "the encoder's tokens through its final norm (vision_layers = [])");
  const auto info = model.vision->info();
  std::vector<int64_t> layers;
  for (const auto layer : model.options.vision_layers)
    layers.push_back(layer - info.num_layers - 1);
  const bool full = model.options.keep_prefix || info.prefix == 0;
  return Json::object(
      {{"model_type", family},
       {"vision_config", typed_config(vision)},
       {"text_config", typed_config(language)},
       {"image_token_index", model.options.image_token},
       {"projector_hidden_act", activation_name(p.activation)},
       {"multimodal_projector_bias", p.bias},
       {"vision_feature_layer", layers.size() == 1 ? Json(layers[0]) : Json(layers)},
       {"vision_feature_select_strategy", full ? "full" : "default"},
       {"tie_word_embeddings", language.config.get("tie_word_embeddings", false)}});
}

VlmFamily llava_like(const LlavaLayout& layout) {
  return {.architecture = layout.architecture,
          .vision = [=](const Json& config) { return llava_vision(config, layout); },
          .language = [=](const Json& config) { return llava_language(config, layout); },
          .vision_prefix = "vision_tower.",
          .connector =
              [=](const Json& config, int64_t input_size, int64_t hidden_size) {
                return llava_projector(config, layout.family, input_size, hidden_size);
              },
          .options = [=](const Json& config) { return llava_options(config, layout); },
          .key_map = [=](const Json& config) { return llava_map(config, layout); },
          .module_names = {{"language_model.model.{x...}", "model.language_model.{x...}"},
                           {"language_model.lm_head.{x...}", "lm_head.{x...}"},
                           {"vision_tower.{x...}", "model.vision_tower.{x...}"},
                           {"multi_modal_projector.{x...}", "model.multi_modal_projector.{x...}"}},
          .config =
              [=](const models::VlmImpl& model, const TowerConfig& vision,
                  const TowerConfig& language) {
                return llava_config(model, *model.connector, vision, language, layout);
              }};
}

VlmFamily llava_family() {
  return llava_like({.family = "llava",
                     .architecture = "LlavaForConditionalGeneration",
                     .vision = clip_336_config(),
                     .text = "llama",
                     .image_token = 32000,
                     .feature_layer = -2,
                     .strategy = "default",
                     .projector = "connector."});
}

}  // namespace weft::checkpoint
