#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/checkpoint/lm_folder.hpp>
#include <weft/checkpoint/vlm_families.hpp>
#include <weft/tokenizers/chat_template.hpp>
#include <weft/tokenizers/tokenizer.hpp>
#include <weft/vision/image_batch.hpp>

namespace weft::checkpoint {

/// A vision-language model with all that turns files and strings into its inputs.
struct VlmFolder {
  models::Vlm model{nullptr};
  EncoderFolder vision = {};  ///< the model's encoder, with the preprocessor
  LmFolder language = {};     ///< the model's decoder, with its generation settings
  std::shared_ptr<tokenizers::Tokenizer> tokenizer = {};  ///< null where the folder has none
  std::optional<tokenizers::ChatTemplate> chat = {};      ///< likewise
  std::filesystem::path texts = {};  ///< folder whose tokenizer files a save copies; "" = none
  vision::ImageTransformOptions transform = {};
  std::string layout = "";  ///< that it was read from: a name of vlm_families(), "" = weft's own
  Json config = {};         ///< config.json of that layout; unknown fields are kept
  LoadReport report = {};   ///< what the load left aside
};

/// Loads a vision-language model into parameters of `dtype`: a layout of vlm_families(), named by
/// config.json's model_type, or weft's own folder:
///   config.json          VlmOptions, "connector" and "model_type": "weft_vlm"
///   model.safetensors    connector.*
///   vision/, language/   the parts as Hugging Face folders; vision/preprocessor_config.json is the
///                        transform
///   tokenizer.json ...   the files of the language model's tokenizer, chat_template.jinja
/// `path` may be a run folder, whose `model` is then read. The model is in evaluation mode. Errors
/// name file, field or every weight that does not fit.
WEFT_API VlmFolder load_vlm(const std::filesystem::path& path, at::ScalarType dtype = at::kFloat);

/// Writes weft's own folder, or with `layout` one of vlm_families(), which transformers loads
/// without missing or unexpected weights. It appears whole or not at all, in the place of one that
/// was there; files in it that are not the model's stay. Error names what the layout cannot
/// express.
WEFT_API void save_vlm(const VlmFolder& folder, const std::filesystem::path& path,
                       const std::string& layout = "");

/// Puts a connector, by a name of make_connector(), between an encoder and the language model of
/// the folder `language`, which brings tokenizer and chat template. `image_size`: pixels a side, 0
/// = the encoder's own. `shuffle`: as make_connector(). `layers`: as VlmOptions.vision_layers. The
/// placeholder is the vocabulary's
/// "<image>", or an id outside of it.
WEFT_API VlmFolder make_vlm(const std::filesystem::path& vision,
                            const std::filesystem::path& language, const std::string& connector,
                            const std::vector<int64_t>& layers = {}, int64_t image_size = 0,
                            int64_t shuffle = 2);

/// Whether load_vlm() reads `path`, by its config.json.
WEFT_API bool is_vlm(const std::filesystem::path& path);

}  // namespace weft::checkpoint
