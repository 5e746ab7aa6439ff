#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <weft/checkpoint/key_map.hpp>
#include <weft/core/json.hpp>
#include <weft/core/options.hpp>
#include <weft/core/registry.hpp>
#include <weft/nn/sockets.hpp>

namespace weft::checkpoint {

enum class Role { image, text };

/// One layout of checkpoints: a configuration of weft's modules and a key map.
struct Family {
  Role role;
  /// The class that Hugging Face loads it with, "BertModel"; "" = another library.
  std::string architecture;
  /// Whether a weight, named as in the checkpoint, is there; decides about optional parts
  /// (poolers).
  using Has = std::function<bool(std::string_view)>;
  /// Builds the encoder from config.json. Fields that are absent take Hugging Face's defaults; one
  /// that changes the mathematics in a way that weft lacks is an Error that names it; others are
  /// not looked at.
  std::function<std::shared_ptr<Encoder>(const Json& config, const Has& has)> make;
  std::function<KeyMap(const Json& config)> key_map;
  /// config.json of an encoder; Error names the option that the layout cannot express.
  std::function<Json(const Encoder& encoder)> config;
  /// preprocessor_config.json of an image encoder whose config.json holds its image transform; null
  /// where the layout has the file.
  std::function<Json(const Json& config)> preprocessor = {};
};

/// By config.json's model_type: bert, clip_text_model, clip_vision_model, dinov2,
/// dinov2_with_registers, idefics3_vision, internvl_vision, siglip_text_model, siglip_vision_model,
/// smolvlm_vision, vit; and timm_vit, by its architecture. Users add theirs with
/// families().add(...).
WEFT_API Registry<Family>& families();

/// families().at(name), or one of lm_families() as a text encoder (text/lm_encoder.hpp), in the
/// layout that it has by itself. Error for another name.
WEFT_API Family encoder_family(const std::string& name);

}  // namespace weft::checkpoint

template <>
inline constexpr std::string_view weft::enum_names<weft::checkpoint::Role>[] = {"image", "text"};
