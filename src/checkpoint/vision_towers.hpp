// What families of image towers share.
#pragma once

#include <string>
#include <string_view>

#include <weft/checkpoint/key_map.hpp>
#include <weft/core/json.hpp>
#include <weft/vision/vision_transformer.hpp>

namespace weft::checkpoint {

/// The options of a vision transformer; Error for another encoder.
const vision::VisionTransformerOptions& transformer_options(const Encoder& encoder,
                                                            std::string_view family);

/// A rule for values that stay while `count` leading dimensions of 1 come and go.
void add_leading(KeyMap& map, const std::string& theirs, const std::string& ours, int64_t count);

/// SigLIP's image tower as the options of weft's encoder; `family` is theirs and stands in errors.
vision::VisionTransformerOptions siglip_options(const Json& config, const std::string& family);
/// The other way, but for how positions are resampled; Error names the option that the layout of
/// `family` cannot express.
Json siglip_config(const vision::VisionTransformerOptions& options, const std::string& family);
/// Its names behind "vision_model.".
KeyMap siglip_map();

}  // namespace weft::checkpoint
