#include <weft/checkpoint/dual_families.hpp>

#include "checkpoint/config_reader.hpp"
#include "checkpoint/family_list.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

using models::ContrastiveLoss;
using models::DualEncoderImpl;
using models::DualEncoderOptions;
using models::Projection;

// config.json's sub-configuration; a family that the layout does not fix stands in it.
TowerConfig tower(const Json& config, const char* key, const std::string& fixed = "") {
  auto part = config.get(key, Json::object());
  if (!part.is_object())
    fail("config.json: '{}' must be an object, found a {}", key, part.type_name());
  auto family = fixed;
  if (family.empty()) {
    if (!part.contains("model_type"))
      fail("config.json: '{}' lacks the field 'model_type', which names the family", key);
    family = part.at("model_type").as_string();
    // A whole CLIP's configuration in the place of its tower's.
    if (family == "clip") fail("config.json: '{}' is of the type clip, which is no tower", key);
  }
  return {family, part};
}

KeyMap towers(const TowerConfig& image, const TowerConfig& text) {
  KeyMap map;
  map.nest(families().at(image.family).key_map(image.config), "vision_model.", "image.")
      .nest(families().at(text.family).key_map(text.config), "text_model.", "text.");
  return map;
}

KeyMap projected_map(const TowerConfig& image, const TowerConfig& text) {
  auto map = towers(image, text);
  map.rename("visual_projection.{p}", "image_projection.{p}")
      .rename("text_projection.{p}", "text_projection.{p}")
      .rename("logit_scale", "logit_scale");
  return map;
}

// SigLIP keeps its two numbers as vectors of one.
KeyMap siglip_map(const TowerConfig& image, const TowerConfig& text) {
  auto map = towers(image, text);
  for (const std::string name : {"logit_scale", "logit_bias"})
    map.permute(
        name, name, [](const at::Tensor& t) { return t.reshape({}); },
        [](const at::Tensor& t) { return t.reshape({1}); });
  return map;
}

DualEncoderOptions projected(const Json& config, const char* family) {
  const ConfigReader read(config, family);
  return {.embed_dim = read.integer("projection_dim", 512),
          .image_projection = Projection::linear,
          .text_projection = Projection::linear,
          .init_logit_scale = read.number("logit_scale_init_value", 2.6592)};
}

DualEncoderOptions siglip_options(const Json& config) {
  const auto text = tower(config, "text_config", "siglip_text_model").config;
  const ConfigReader read(text, "siglip");
  return {.embed_dim = read.integer("projection_size", read.integer("hidden_size", 768)),
          .image_projection = Projection::none,
          .text_projection = Projection::none,
          .loss = ContrastiveLoss::sigmoid};
}

void need_towers(const char* layout, const TowerConfig& image, const std::string& image_family,
                 const TowerConfig& text, const std::string& text_family) {
  if (image.family != image_family || text.family != text_family)
    fail("the layout {} holds towers of the families {} and {}, found {} and {}", layout,
         image_family, text_family, image.family, text.family);
}

void need_pooling(const char* layout, const DualEncoderImpl& model, Projection projection,
                  ContrastiveLoss loss) {
  const auto& o = model.options;
  if (o.image_pool != nn::Pooling::encoder || o.text_pool != nn::Pooling::encoder)
    refuse_option(layout, "another pooling than the towers' own");
  if (o.image_projection != projection || o.text_projection != projection)
    refuse_option(layout, "projections other than " + to_json(projection).as_string());
  if (o.loss != loss) refuse_option(layout, "the loss " + to_json(o.loss).as_string());
}

Json with_type(Json config, const TowerConfig& tower) {
  return config.set("model_type", tower.family);
}

Json projected_config(const DualEncoderImpl& model, const TowerConfig& image,
                      const TowerConfig& text) {
  const auto part = [&](const TowerConfig& tower) {
    return with_type(tower.config, tower).set("projection_dim", model.options.embed_dim);
  };
  return Json::object({{"projection_dim", model.options.embed_dim},
                       {"logit_scale_init_value", *model.options.init_logit_scale},
                       {"vision_config", part(image)},
                       {"text_config", part(text)}});
}

DualFamily clip() {
  const auto config = [](const DualEncoderImpl& model, const TowerConfig& image,
                         const TowerConfig& text) {
    need_towers("clip", image, "clip_vision_model", text, "clip_text_model");
    need_pooling("clip", model, Projection::linear, ContrastiveLoss::infonce);
    return projected_config(model, image, text);
  };
  const auto image = [](const Json& c) { return tower(c, "vision_config", "clip_vision_model"); };
  const auto text = [](const Json& c) { return tower(c, "text_config", "clip_text_model"); };
  return {.architecture = "CLIPModel",
          .image = image,
          .text = text,
          .image_prefix = "vision_model.",
          .text_prefix = "text_model.",
          .options = [](const Json& c) { return projected(c, "clip"); },
          .key_map = [=](const Json& c) { return projected_map(image(c), text(c)); },
          .config = config};
}

DualFamily siglip() {
  const auto config = [](const DualEncoderImpl& model, const TowerConfig& image,
                         const TowerConfig& text) {
    need_towers("siglip", image, "siglip_vision_model", text, "siglip_text_model");
    need_pooling("siglip", model, Projection::none, ContrastiveLoss::sigmoid);
    return Json::object({{"vision_config", with_type(image.config, image)},
                         {"text_config", with_type(text.config, text)}});
  };
  const auto image = [](const Json& c) { return tower(c, "vision_config", "siglip_vision_model"); };
  const auto text = [](const Json& c) { return tower(c, "text_config", "siglip_text_model"); };
  return {.architecture = "SiglipModel",
          .image = image,
          .text = text,
          .image_prefix = "vision_model.",
          .text_prefix = "text_model.",
          .options = siglip_options,
          .key_map = [=](const Json& c) { return siglip_map(image(c), text(c)); },
          .config = config};
}

DualFamily vision_text() {
  const auto config = [](const DualEncoderImpl& model, const TowerConfig& image,
                         const TowerConfig& text) {
    need_pooling("vision-text-dual-encoder", model, Projection::linear, ContrastiveLoss::infonce);
    if (!families().contains(text.family))
      refuse_option("vision-text-dual-encoder",
                    "a decoder (" + text.family + ") as its text tower");
    return projected_config(model, image, text);
  };
  const auto image = [](const Json& c) { return tower(c, "vision_config"); };
  const auto text = [](const Json& c) { return tower(c, "text_config"); };
  return {.architecture = "VisionTextDualEncoderModel",
          .image = image,
          .text = text,
          .image_prefix = "vision_model.",
          .text_prefix = "text_model.",
          .options = [](const Json& c) { return projected(c, "vision-text-dual-encoder"); },
          .key_map = [=](const Json& c) { return projected_map(image(c), text(c)); },
          .config = config};
}

}  // namespace

Registry<DualFamily>& dual_families() {
  static auto registry = [] {
    Registry<DualFamily> out("dual encoder family");
    out.add("clip", clip());
    out.add("open_clip", open_clip_family());
    out.add("siglip", siglip());
    out.add("vision-text-dual-encoder", vision_text());
    return out;
  }();
  return registry;
}

}  // namespace weft::checkpoint
