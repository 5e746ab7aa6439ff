#include <charconv>

#include <weft/checkpoint/tiling.hpp>
#include <weft/checkpoint/vlm_families.hpp>
#include <weft/fusion/anyres.hpp>

#include "checkpoint/config_reader.hpp"
#include "checkpoint/family_list.hpp"
#include "checkpoint/llava_layout.hpp"
#include "checkpoint/vlm_parts.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

constexpr std::string_view kAnyResMax = "anyres_max_";

/// 9 of "anyres_max_9".
int64_t max_tiles_of(const Json& config) {
  const auto text = ConfigReader(config, "llava_onevision")
                        .text("vision_aspect_ratio", std::string(kAnyResMax) + "9");
  int64_t out = 0;
  if (text.starts_with(kAnyResMax)) {
    const auto* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + kAnyResMax.size(), end, out);
    if (error == std::errc() && stop == end && out > 0) return out;
  }
  fail(
      "config.json of the family llava_onevision: vision_aspect_ratio must be anyres_max_<tiles>, "
      "found '{}'",
      text);
}

const fusion::AnyResImpl& any_res_of(const models::VlmImpl& model, const std::string& family) {
  const auto* out = dynamic_cast<const fusion::AnyResImpl*>(model.connector.get());
  if (out == nullptr) refuse_option(family, "another connector than AnyRes over a projector");
  if (out->options.tile_size != model.vision->info().image_size)
    refuse_option(family, "tiles of another size than the encoder's images");
  return *out;
}

/// A family of tiles: `onevision` or LLaVA-NeXT.
VlmFamily tiled_llava(const LlavaLayout& layout, bool onevision) {
  auto out = llava_like(layout);
  const auto name = layout.family;
  out.connector = [=, vision = out.vision](const Json& config, int64_t input_size,
                                           int64_t hidden_size) -> std::shared_ptr<Connector> {
    const auto tower = vision(config);
    fusion::AnyResOptions options{
        .tile_size = ConfigReader(tower.config, tower.family).side("image_size", 224)};
    const auto pinpoints = config.get("image_grid_pinpoints");
    if (!pinpoints.is_null()) {
      options.grid_pinpoints = grid_pinpoints(pinpoints, "config.json");
    } else if (onevision) {
      options.grid_pinpoints = onevision_pinpoints();
    }
    if (onevision) options.max_tiles = max_tiles_of(config);
    return std::make_shared<fusion::AnyResImpl>(
        llava_projector(config, name, input_size, hidden_size), options);
  };
  out.key_map = [map = out.key_map](const Json& config) {
    return map(config).rename("image_newline", "connector.image_newline");
  };
  out.config = [=](const models::VlmImpl& model, const TowerConfig& vision,
                   const TowerConfig& language) {
    const auto& tiles = any_res_of(model, name);
    auto config = llava_config(model, *tiles.projector, vision, language, layout);
    config.set("image_grid_pinpoints", grid_pinpoints(tiles.options.grid_pinpoints));
    const auto max_tiles = tiles.options.max_tiles;
    if (onevision != (max_tiles > 0))
      refuse_option(name, onevision ? "any number of tiles (max_tiles = 0)"
                                    : "a limit of an image's tokens (max_tiles)");
    if (onevision)
      config.set("vision_aspect_ratio", std::string(kAnyResMax) + std::to_string(max_tiles));
    return config;
  };
  out.preprocessor = [=](const models::VlmImpl& model) {
    const auto& tiles = any_res_of(model, name).options;
    return tiling_config({.view = whole_tile(*model.vision, tiles.tile_size),
                          .grid_pinpoints = tiles.grid_pinpoints,
                          .pad_several = onevision},
                         onevision ? "LlavaOnevisionImageProcessor" : "LlavaNextImageProcessor");
  };
  return out;
}

}  // namespace

VlmFamily llava_next_family() {
  return tiled_llava({.family = "llava_next",
                      .architecture = "LlavaNextForConditionalGeneration",
                      .vision = clip_336_config(),
                      .text = "llama",
                      .image_token = 32000,
                      .feature_layer = -2,
                      .strategy = "default",
                      .projector = "connector.projector."},
                     false);
}

VlmFamily llava_onevision_family() {
  return tiled_llava({.family = "llava_onevision",
                      .architecture = "LlavaOnevisionForConditionalGeneration",
                      .vision = Json::object({{"model_type", "siglip_vision_model"},
                                              {"hidden_size", 1152},
                                              {"intermediate_size", 4304},
                                              {"patch_size", 14},
                                              {"image_size", 384},
                                              {"num_hidden_layers", 26},
                                              {"num_attention_heads", 16},
                                              {"vision_use_head", false}}),
                      .text = "qwen2",
                      .image_token = 151646,
                      .feature_layer = -1,
                      .strategy = "full",
                      .projector = "connector.projector."},
                     true);
}

}  // namespace weft::checkpoint
