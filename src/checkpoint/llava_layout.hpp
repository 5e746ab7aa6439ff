// What the layouts of LLaVA's line share.
#pragma once

#include <memory>
#include <string>

#include <weft/checkpoint/vlm_families.hpp>
#include <weft/fusion/projector.hpp>

namespace weft::checkpoint {

struct LlavaLayout {
  std::string family, architecture;
  Json vision;            ///< the vision_config of a config.json without one
  std::string text;       ///< the family of a text_config that names none
  int64_t image_token;    ///< default of image_token_index
  int64_t feature_layer;  ///< of vision_feature_layer
  std::string strategy;   ///< of vision_feature_select_strategy
  std::string projector;  ///< prefix of the projector's parameters, "connector."
};

/// The vision_config of CLIP ViT-L/14 at 336 pixels.
Json clip_336_config();

/// The names of both towers in the files of that line.
KeyMap llava_towers(const TowerConfig& vision, const TowerConfig& language);

/// A family of that layout, whose connector is its projector.
VlmFamily llava_like(const LlavaLayout& layout);

std::shared_ptr<fusion::ProjectorImpl> llava_projector(const Json& config,
                                                       const std::string& family,
                                                       int64_t input_size, int64_t hidden_size);
/// The fields of config.json that all have.
Json llava_config(const models::VlmImpl& model, const Connector& projector,
                  const TowerConfig& vision, const TowerConfig& language,
                  const LlavaLayout& layout);

}  // namespace weft::checkpoint
