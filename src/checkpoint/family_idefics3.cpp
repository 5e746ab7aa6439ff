// Idefics3 (Laurencon et al., 2024) and SmolVLM (Marafioti et al., 2025), which differ in names.
#include <weft/checkpoint/tiling.hpp>
#include <weft/checkpoint/vlm_families.hpp>

#include "checkpoint/config_reader.hpp"
#include "checkpoint/family_list.hpp"
#include "checkpoint/vision_towers.hpp"
#include "checkpoint/vlm_parts.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

constexpr const char *kIdeficsVision = "idefics3_vision", *kSmolVision = "smolvlm_vision";

struct IdeficsLayout {
  std::string family, architecture, vision, processor;
};

/// SigLIP's tower without its head, and with positions by bucket.
vision::VisionTransformerOptions idefics_tower(Json config, const std::string& family) {
  const auto otherwise = [&](const char* key, int64_t value) {
    if (config.get(key).is_null()) config.set(key, value);
  };
  otherwise("hidden_size", 1152);
  otherwise("num_attention_heads", 16);
  otherwise("patch_size", 32);
  auto out = siglip_options(config.set("vision_use_head", false), family);
  out.resample.mode = nn::Interpolation::bucket;
  return out;
}

Json idefics_tower_config(const Encoder& encoder, const std::string& family) {
  const auto& o = transformer_options(encoder, family);
  if (o.resample.mode != nn::Interpolation::bucket || o.resample.antialias)
    refuse_option(family, "positions that are resampled, not taken by bucket");
  if (o.pooling != nn::Pooling::mean) refuse_option(family, "another pooling than mean");
  return siglip_config(o, family).erase("vision_use_head");
}

TowerConfig idefics_vision(const Json& config, const IdeficsLayout& layout) {
  // The first files name the model's own type in this place.
  return {layout.vision,
          part_config(config, "vision_config", Json::object(), layout.vision).config};
}

TowerConfig idefics_language(const Json& config) {
  return tied_by_model(
      part_config(config, "text_config", Json::object({{"rms_norm_eps", 1e-5}}), "llama"), config,
      false);
}

KeyMap idefics_map(const Json& config, const IdeficsLayout& layout) {
  const auto vision = idefics_vision(config, layout), language = idefics_language(config);
  // The decoder stands without its head, which is the model's.
  auto text = lm_families().at(language.family).key_map(language.config);
  for (const char* base : {"model.", "transformer."}) text.move(base, "model.text_model.");
  KeyMap map;
  map.nest(families().at(vision.family).key_map(vision.config), "model.vision_model.", "vision.")
      .nest(text, "", "language.")
      .rename("model.connector.modality_projection.proj.weight", "connector.layers_0.weight");
  return map;
}

Json idefics_config(const models::VlmImpl& model, const TowerConfig& vision,
                    const TowerConfig& language, const IdeficsLayout& layout) {
  const auto& family = layout.family;
  const auto& p = projector_of(model, family).options;
  if (p.depth != 1 || p.bias || p.pool != 1 || p.norm)
    refuse_option(family, "a projector that is not one linear layer without bias, pool and norm");
  if (!model.options.vision_layers.empty())
    refuse_option(family, "layers of the encoder (vision_layers) in place of its output");
  // Both have the same tower, under their own names.
  if (vision.family != kIdeficsVision && vision.family != kSmolVision)
    refuse_option(family, "an image encoder of the family " + vision.family);
  return Json::object({{"model_type", family},
                       {"vision_config", typed_config({layout.vision, vision.config})},
                       {"text_config", typed_config(language)},
                       {"image_token_id", model.options.image_token},
                       {"scale_factor", p.shuffle},
                       {"tie_word_embeddings", language.config.get("tie_word_embeddings", false)}});
}

VlmFamily idefics_like(const IdeficsLayout& layout) {
  return {.architecture = layout.architecture,
          .vision = [=](const Json& config) { return idefics_vision(config, layout); },
          .language = idefics_language,
          .vision_prefix = "model.vision_model.",
          .connector = [=](const Json& config, int64_t input_size,
                           int64_t hidden_size) -> std::shared_ptr<Connector> {
            return std::make_shared<fusion::ProjectorImpl>(fusion::ProjectorOptions{
                .input_size = input_size,
                .hidden_size = hidden_size,
                .depth = 1,
                .bias = false,
                .shuffle = ConfigReader(config, layout.family).integer("scale_factor", 2)});
          },
          .options =
              [=](const Json& config) {
                return models::VlmOptions{
                    .image_token =
                        ConfigReader(config, layout.family).integer("image_token_id", 128257),
                    .vision_layers = {}};
              },
          .key_map = [=](const Json& config) { return idefics_map(config, layout); },
          .settle =
              [](Json& config, const io::Safetensors& file) {
                untie_if_different(config, file, "lm_head.weight",
                                   "model.text_model.embed_tokens.weight");
              },
          .config =
              [=](const models::VlmImpl& model, const TowerConfig& vision,
                  const TowerConfig& language) {
                return idefics_config(model, vision, language, layout);
              },
          .preprocessor =
              [=](const models::VlmImpl& model) {
                const auto side = model.vision->info().image_size;
                vision::TilingOptions options{.view = whole_tile(*model.vision, side),
                                              .tiling = vision::Tiling::split,
                                              .longest_edge = 4 * side};
                options.view.filter = io::Filter::lanczos;
                return tiling_config(options, layout.processor);
              }};
}

Family idefics_vision_family(const std::string& family, const std::string& architecture) {
  return {Role::image, architecture,
          [=](const Json& config, const Family::Has&) -> std::shared_ptr<Encoder> {
            return std::make_shared<vision::VisionTransformerImpl>(idefics_tower(config, family));
          },
          [](const Json&) { return siglip_map(); },
          [=](const Encoder& encoder) { return idefics_tower_config(encoder, family); }};
}

}  // namespace

Family idefics3_vision_family() {
  return idefics_vision_family(kIdeficsVision, "Idefics3VisionTransformer");
}
Family smolvlm_vision_family() {
  return idefics_vision_family(kSmolVision, "SmolVLMVisionTransformer");
}

VlmFamily idefics3_family() {
  return idefics_like({.family = "idefics3",
                       .architecture = "Idefics3ForConditionalGeneration",
                       .vision = kIdeficsVision,
                       .processor = "Idefics3ImageProcessor"});
}

VlmFamily smolvlm_family() {
  return idefics_like({.family = "smolvlm",
                       .architecture = "SmolVLMForConditionalGeneration",
                       .vision = kSmolVision,
                       .processor = "SmolVLMImageProcessor"});
}

}  // namespace weft::checkpoint
