#pragma once

#include <filesystem>
#include <string>

#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/checkpoint/lm_folder.hpp>
#include <weft/checkpoint/vlm_families.hpp>

namespace weft::checkpoint {

/// A vision-language model with what its folder said besides the weights.
struct VlmFolder {
  models::Vlm model{nullptr};
  EncoderFolder vision = {};  ///< the model's encoder, with the preprocessor
  LmFolder language = {};     ///< the model's decoder, with its generation settings
  std::string layout = "";    ///< a name of vlm_families()
  Json config = {};           ///< config.json of it; unknown fields are kept
  LoadReport report = {};     ///< what the load left aside
};

/// Loads a Hugging Face folder, whose config.json names the layout by model_type, into parameters
/// of `dtype`. The model is in evaluation mode. Errors name file, field or every weight that does
/// not fit.
WEFT_API VlmFolder load_vlm(const std::filesystem::path& folder, at::ScalarType dtype = at::kFloat);

/// Writes a folder of `layout` that transformers loads without missing or unexpected weights. It
/// appears whole or not at all, in the place of one that was there; files in it that are not the
/// model's stay. Error names what the layout cannot express.
WEFT_API void save_vlm(const VlmFolder& folder, const std::filesystem::path& path,
                       const std::string& layout = "llava");

}  // namespace weft::checkpoint
