#pragma once

#include <functional>

#include <weft/core/registry.hpp>
#include <weft/vision/vision_transformer.hpp>

namespace weft::vision {

/// For images of about 64 pixels and small data: 8-pixel patches, 192 wide, 6 layers, 3 heads;
/// 2.8 million parameters.
WEFT_API VisionTransformerOptions vit_tiny();
/// ViT-S/16 and ViT-B/16 at 224 pixels (Touvron et al., 2021; Dosovitskiy et al., 2021).
WEFT_API VisionTransformerOptions vit_small_16();
WEFT_API VisionTransformerOptions vit_base_16();
/// DINOv2's ViT-S/14 (Oquab et al., 2023), positions for 518 pixels.
WEFT_API VisionTransformerOptions dinov2_small();

/// The presets by name.
WEFT_API const Registry<std::function<VisionTransformerOptions()>>& presets();

}  // namespace weft::vision
