#pragma once

#include <functional>
#include <memory>
#include <string>

#include <weft/checkpoint/families.hpp>
#include <weft/models/dual_encoder.hpp>
#include <weft/vision/image_batch.hpp>

namespace weft::checkpoint {

/// One tower of a model that two of them make up: its family in families(), and the config.json
/// that it would have alone.
struct TowerConfig {
  std::string family;
  Json config;
};

/// One layout of dual encoders: both towers and what stands beside them in one file.
struct DualFamily {
  std::string architecture;  ///< the class that Hugging Face loads it with, "CLIPModel"; "" =
                             ///< another library
  std::function<TowerConfig(const Json&config)> image, text;
  /// The prefixes of the towers' names in the file, "vision_model." and "text_model.".
  std::string image_prefix, text_prefix;
  std::function<models::DualEncoderOptions(const Json& config)> options;
  std::function<KeyMap(const Json& config)> key_map;  ///< of the whole model
  /// The image transform that config.json itself holds, on top of `other`, and back; both null
  /// where the layout has preprocessor_config.json for it.
  std::function<vision::ImageTransformOptions(const Json& config,
                                              const vision::ImageTransformOptions& other)>
      read_transform = {};
  std::function<void(Json& config, const vision::ImageTransformOptions&)> write_transform = {};
  std::string config_file = "config.json";
  std::string weights_file = "";  ///< "" = as io::Safetensors finds them in a folder
  /// config.json of a model with these towers; Error names the option that the layout cannot
  /// express.
  std::function<Json(const models::DualEncoderImpl& model, const TowerConfig& image,
                     const TowerConfig& text)>
      config;
};

/// By config.json's model_type: clip, siglip, vision-text-dual-encoder; and open_clip, by its
/// open_clip_config.json.
WEFT_API Registry<DualFamily>& dual_families();

/// open_clip's own configurations (model_cfg) by its names, of which one stands for both towers:
/// ViT-B-32, ViT-L-14-336-quickgelu, ViT-B-16-SigLIP2-256 ...
WEFT_API const Registry<Json>& dual_presets();

}  // namespace weft::checkpoint
