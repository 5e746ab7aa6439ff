// What the layouts of vision-language models share.
#pragma once

#include <string>

#include <weft/checkpoint/vlm_families.hpp>
#include <weft/fusion/projector.hpp>
#include <weft/vision/image_batch.hpp>

namespace weft::checkpoint {

/// A part's config: the object `key`, or `otherwise`; of the family that its model_type names, or
/// of `type`.
TowerConfig part_config(const Json& config, const char* key, const Json& otherwise,
                        const std::string& type);
/// The other way: with its model_type.
Json typed_config(const TowerConfig& part);

/// The text_config of a layout in which the model's own tie_word_embeddings decides.
TowerConfig tied_by_model(TowerConfig language, const Json& config, bool otherwise);
/// As transformers reads it: the head `head` is not the embeddings' where the file has both and
/// they differ, whatever config.json says.
void untie_if_different(Json& config, const io::Safetensors& file, const std::string& head,
                        const std::string& embeddings);

/// The projector of a model; Error for another connector.
const fusion::ProjectorImpl& projector_of(const models::VlmImpl& model, const std::string& family);

/// The transform of a tile: a square of `size` pixels, with the encoder's own pixel statistics.
vision::ImageTransformOptions whole_tile(const Encoder& encoder, int64_t size);

}  // namespace weft::checkpoint
