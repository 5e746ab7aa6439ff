#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include <c10/core/ScalarType.h>

#include <weft/checkpoint/lm_families.hpp>
#include <weft/tokenizers/tokenizer.hpp>

namespace weft::checkpoint {

/// A language model with what its folder said besides the weights.
struct LmFolder {
  std::shared_ptr<LanguageModel> model = {};
  std::string family = {};  ///< as registered in lm_families()
  Json config = {};         ///< config.json; unknown fields are kept and written back
  Json generation = {};     ///< generation_config.json; null = none
  LoadReport report = {};   ///< what the load left aside
};

/// Loads a Hugging Face folder: config.json, whose model_type names the family, and
/// model.safetensors or its shards, into parameters of `dtype`; folders of the model without its
/// head load too where the head is tied. The model is in evaluation mode. Errors name file, field
/// or every weight that does not fit.
WEFT_API LmFolder load_language_model(const std::filesystem::path& folder,
                                      at::ScalarType dtype = at::kFloat);

/// Writes a folder that transformers loads with AutoModelForCausalLM without missing or unexpected
/// weights. It appears whole or not at all; where it is there already it is replaced in one step,
/// and files in it that are not the model's stay.
WEFT_API void save_language_model(const LmFolder& folder, const std::filesystem::path& path);

/// Wraps a model for save_language_model.
WEFT_API LmFolder wrap_language_model(std::shared_ptr<LanguageModel> model);

/// The tokens that end a text: eos_token_id of generation_config.json, else of config.json.
WEFT_API std::vector<int64_t> end_tokens(const LmFolder& folder);

/// Whether `folder` holds one of lm_families(), by its config.json.
WEFT_API bool is_language_model(const std::filesystem::path& folder);

/// The tokenizer of a text encoder's folder. That of a language model ends each text with the
/// eos_token_id of config.json, which sums it up, and pads with it where no padding token is known.
WEFT_API std::shared_ptr<tokenizers::Tokenizer> load_text_tokenizer(
    const std::filesystem::path& folder);

}  // namespace weft::checkpoint
