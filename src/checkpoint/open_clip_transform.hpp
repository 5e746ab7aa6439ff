#pragma once

#include <weft/core/json.hpp>
#include <weft/vision/image_batch.hpp>

namespace weft::checkpoint {

/// preprocess_cfg of an open_clip_config.json, as open_clip's evaluation reads it, on top of
/// `other`.
vision::ImageTransformOptions read_open_clip_transform(const Json& config,
                                                       const vision::ImageTransformOptions& other);
/// The same back; Error names what open_clip cannot express.
void write_open_clip_transform(Json& config, const vision::ImageTransformOptions& transform);

}  // namespace weft::checkpoint
