#include <weft/vision/presets.hpp>

namespace weft::vision {

VisionTransformerOptions vit_tiny() {
  return {.image_size = 64, .patch_size = 8, .hidden_size = 192, .num_layers = 6, .num_heads = 3};
}

VisionTransformerOptions vit_small_16() { return {.hidden_size = 384, .num_heads = 6}; }

VisionTransformerOptions vit_base_16() { return {.hidden_size = 768, .num_heads = 12}; }

VisionTransformerOptions dinov2_small() {
  return {.family = "dinov2",
          .image_size = 518,
          .patch_size = 14,
          .hidden_size = 384,
          .num_heads = 6,
          .layer_scale = 1.0,
          .mask_token = true};
}

const Registry<std::function<VisionTransformerOptions()>>& presets() {
  static const auto registry = [] {
    Registry<std::function<VisionTransformerOptions()>> out("vision preset");
    out.add("vit_tiny", vit_tiny);
    out.add("vit_small_16", vit_small_16);
    out.add("vit_base_16", vit_base_16);
    out.add("dinov2_small", dinov2_small);
    return out;
  }();
  return registry;
}

}  // namespace weft::vision
