#pragma once

#include <filesystem>
#include <memory>

#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/models/dual_encoder.hpp>
#include <weft/tokenizers/tokenizer.hpp>
#include <weft/vision/image_batch.hpp>

namespace weft::checkpoint {

/// A dual encoder with all that turns files and strings into its inputs.
struct DualEncoderFolder {
  models::DualEncoder model{nullptr};
  EncoderFolder image = {}, text = {};  ///< the model's towers
  std::shared_ptr<tokenizers::Tokenizer> tokenizer = {};
  vision::ImageTransformOptions transform = {};
};

/// Weft's own folder:
///   config.json          DualEncoderOptions and "model_type": "weft_dual_encoder"
///   model.safetensors    image_projection.*, text_projection.*, logit_scale
///   image/, text/        the towers as Hugging Face folders; image/preprocessor_config.json is the
///                        transform
///   tokenizer.json
/// Each tower's folder loads into transformers by itself. `path` may be a run folder, whose `model`
/// is then read. Error names what is missing or differs.
WEFT_API DualEncoderFolder load_dual_encoder(const std::filesystem::path& path);

/// Writes it; the folder appears whole or not at all, in the place of one that was there. Error
/// names what a tower's layout cannot express.
WEFT_API void save_dual_encoder(const DualEncoderFolder& folder, const std::filesystem::path& path);

/// Whether `folder` is one, or a run folder with one, by its config.json.
WEFT_API bool is_dual_encoder(const std::filesystem::path& folder);

}  // namespace weft::checkpoint
