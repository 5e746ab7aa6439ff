#pragma once

#include <filesystem>

#include <weft/core/export.hpp>
#include <weft/core/json.hpp>
#include <weft/vision/image_batch.hpp>

namespace weft::checkpoint {

/// What a preprocessor_config.json asks for, as transformers' image processors read it: `size` as a number, as
/// {"shortest_edge"} or as {"height", "width"} (a squash), `crop_size` likewise, `resample` as Pillow's number, `image_mean` and
/// `image_std`. Null gives the defaults. Error names a field that weft cannot follow: sizes that are not square, a rescale_factor
/// other than 1/255, do_resize or do_rescale off.
WEFT_API vision::ImageTransformOptions image_transform(const Json& preprocessor,
                                                       const std::string& origin = "preprocessor_config.json");

/// The same of a folder's preprocessor_config.json; Error where there is none.
WEFT_API vision::ImageTransformOptions read_preprocessor(const std::filesystem::path& folder);

/// The other way; `base` keeps what weft does not read.
WEFT_API Json preprocessor_json(const vision::ImageTransformOptions& transform, const Json& base = {});

}  // namespace weft::checkpoint
