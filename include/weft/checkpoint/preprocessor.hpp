#pragma once

#include <filesystem>
#include <string>

#include <weft/core/export.hpp>
#include <weft/core/json.hpp>
#include <weft/vision/image_batch.hpp>

namespace weft::checkpoint {

/// A Hugging Face preprocessor_config.json as weft's image transform. Known are: size as
/// {shortest_edge} with a square centre crop, as a square {height, width} with or without one, or
/// as one number (a square for ViT's and DeiT's processor, else the shortest edge); resample by
/// Pillow's numbers; mean and std by channel or one for all. Absent fields take the defaults of the
/// named image_processor_type (BitImageProcessor, which DINOv2 uses, CLIPImageProcessor,
/// DeiTImageProcessor, SiglipImageProcessor, ViTImageProcessor and their Fast and FeatureExtractor
/// forms). Crops as transformers does, unless weft's own field `crop_rounding` says otherwise. What
/// would give other pixels is an Error that names the field. `origin` stands in errors.
WEFT_API vision::ImageTransformOptions image_transform(
    const Json& preprocessor, const std::string& origin = "preprocessor_config.json");

/// image_transform of `folder`/preprocessor_config.json.
WEFT_API vision::ImageTransformOptions read_preprocessor(const std::filesystem::path& folder);

/// The same back: a BitImageProcessor, or where the transform squashes a ViTImageProcessor, with a
/// crop a DeiTImageProcessor. Fields of `kept` that it does not set stay. Error for a resize_mode
/// of longest.
WEFT_API Json preprocessor_config(const vision::ImageTransformOptions& transform,
                                  const Json& kept = Json::object());

}  // namespace weft::checkpoint
