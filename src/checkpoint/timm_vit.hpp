#pragma once

#include <cstdint>
#include <string>

#include <weft/core/json.hpp>
#include <weft/vision/vision_transformer.hpp>

namespace weft::checkpoint {

/// What timm's VisionTransformer is built with, under timm's names.
struct TimmVit {
  int64_t img_size = 224, patch_size = 16, in_chans = 3;
  int64_t embed_dim = 768, depth = 12, num_heads = 12;
  double mlp_ratio = 4;
  bool qkv_bias = true, qk_norm = false;
  double init_values = 0;  ///< of LayerScale; 0 = none
  bool class_token = true, no_embed_class = false;
  int64_t reg_tokens = 0;
  bool pre_norm = false, final_norm = true;
  std::string global_pool = "token";
  Json fc_norm = {};  ///< null: where the pooling is avg
  std::string act_layer = "gelu";
  bool gated = false;  ///< a packed SwiGLU
  double eps = 1e-6;
};

/// The configuration behind a name such as vit_base_patch16_clip_224. Error for an architecture
/// that weft does not know.
TimmVit timm_architecture(const std::string& name);
/// With the overrides of config.json's model_args on top.
void override_timm(TimmVit& vit, const Json& model_args);

/// Weft's options; Error names what they cannot express.
vision::VisionTransformerOptions timm_options(const TimmVit& vit);

}  // namespace weft::checkpoint
