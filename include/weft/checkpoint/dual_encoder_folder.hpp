#pragma once

#include <filesystem>
#include <memory>

#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/core/export.hpp>
#include <weft/models/dual_encoder.hpp>
#include <weft/tokenizers/tokenizer.hpp>
#include <weft/vision/image_batch.hpp>

namespace weft::checkpoint {

/// A dual encoder with what it takes to use it.
struct DualEncoderFolder {
  models::DualEncoder model{nullptr};
  EncoderFolder image = {}, text = {};  ///< the model's towers
  std::shared_ptr<tokenizers::Tokenizer> tokenizer = {};
  vision::ImageTransformOptions transform = {};
};

/// Whether `folder`, or the `model` folder of a run in it, holds a dual encoder in weft's own layout.
WEFT_API bool is_dual_encoder(const std::filesystem::path& folder);

/// Reads weft's own layout:
///   config.json          {"model_type": "weft_dual_encoder", "options": ..., "transform": ...}
///   model.safetensors    image_projection.*, text_projection.*, logit_scale
///   image/, text/        the towers as Hugging Face folders, with preprocessor_config.json and tokenizer.json
/// `folder` may be a run folder, whose `model` is then taken. The model is in evaluation mode.
WEFT_API DualEncoderFolder load_dual_encoder(const std::filesystem::path& folder);

/// Writes it; the folder appears whole or not at all and takes the place of one that is there.
WEFT_API void save_dual_encoder(const DualEncoderFolder& clip, const std::filesystem::path& folder);

}  // namespace weft::checkpoint
