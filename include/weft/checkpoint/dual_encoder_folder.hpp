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
  std::string layout = "";  ///< that it was read from: a name of dual_families(), "" = weft's own
  Json config = {};         ///< config.json of that layout; unknown fields are kept
  LoadReport report = {};   ///< what the load left aside
};

/// Loads a dual encoder: a layout of dual_families(), named by config.json's model_type (a folder
/// of Hugging Face with both towers in one model.safetensors), or weft's own folder:
///   config.json          DualEncoderOptions and "model_type": "weft_dual_encoder"
///   model.safetensors    image_projection.*, text_projection.*, logit_scale
///   image/, text/        the towers as Hugging Face folders; image/preprocessor_config.json is the
///                        transform
///   tokenizer.json
/// Each tower's folder loads into transformers by itself. `path` may be a run folder, whose `model`
/// is then read. A folder of Hugging Face may lack the tokenizer, which is null then, and the
/// preprocessor, in whose place the towers' own size and statistics stand. Error names what is
/// missing or differs.
WEFT_API DualEncoderFolder load_dual_encoder(const std::filesystem::path& path);

/// A freshly initialised model by a name of dual_presets(), as open_clip starts it, without a
/// tokenizer. `image` and `text` override members of the towers' configurations as Hugging Face
/// names them, such as image_size and vocab_size; `options` overrides what stands beside the
/// towers.
WEFT_API DualEncoderFolder make_dual_encoder(const std::string& name,
                                             const Json& image = Json::object(),
                                             const Json& text = Json::object(),
                                             const Json& options = Json::object());

/// Writes weft's own folder, or with `layout` one of dual_families(), which transformers loads
/// without missing or unexpected weights. The folder appears whole or not at all, in the place of
/// one that was there. Error names what the layout cannot express.
WEFT_API void save_dual_encoder(const DualEncoderFolder& folder, const std::filesystem::path& path,
                                const std::string& layout = "");

/// The Error of a program that needs the tokenizer which a folder lacks; it names both ways to give
/// one.
[[noreturn]] WEFT_API void fail_without_tokenizer(const std::string& folder);

/// Whether `folder` holds a dual encoder of any layout, or is a run folder with one, by its
/// config.json.
WEFT_API bool is_dual_encoder(const std::filesystem::path& folder);

}  // namespace weft::checkpoint
