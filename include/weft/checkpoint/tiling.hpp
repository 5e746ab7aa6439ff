#pragma once

#include <string>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/core/json.hpp>
#include <weft/vision/tiles.hpp>

namespace weft::checkpoint {

/// A Hugging Face preprocessor_config.json as weft's tiling: LlavaNextImageProcessor and
/// LlavaOnevisionImageProcessor (anyres), LlavaImageProcessor with do_pad (pad), in their Fast and
/// Pil forms too, with those classes' defaults; Idefics3ImageProcessor and SmolVLMImageProcessor
/// (split); GotOcr2ImageProcessor, which is InternVL's (crop, a single tile unless crop_to_patches
/// is set or processor_class is InternVLProcessor, which sets it); every other one is an image
/// transform (checkpoint/preprocessor.hpp) without tiles. LLaVA-OneVision pads each of several
/// images in a sample instead: with the same options and Tiling::pad. What would give other pixels
/// is an Error that names the field; `origin` stands in front of it.
WEFT_API vision::TilingOptions tiling_options(
    const Json& preprocessor, const std::string& origin = "preprocessor_config.json");

/// The same back. `processor` is LlavaNextImageProcessor or LlavaOnevisionImageProcessor for
/// anyres, Idefics3ImageProcessor or SmolVLMImageProcessor for split, GotOcr2ImageProcessor for
/// crop; the others need none. Fields of `kept` that it does not set stay.
WEFT_API Json tiling_config(const vision::TilingOptions& options, const std::string& processor = "",
                            const Json& kept = Json::object());

/// [[height, width], ...] as Hugging Face's image_grid_pinpoints; Error names `where`.
WEFT_API std::vector<vision::Resolution> grid_pinpoints(const Json& value,
                                                        const std::string& where);
WEFT_API Json grid_pinpoints(const std::vector<vision::Resolution>& value);

/// Those of LLaVA-OneVision: 1 x 1 to 6 x 6 tiles of 384 pixels.
WEFT_API std::vector<vision::Resolution> onevision_pinpoints();

}  // namespace weft::checkpoint
