#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <weft/checkpoint/dual_families.hpp>
#include <weft/checkpoint/lm_families.hpp>
#include <weft/models/vlm.hpp>

namespace weft::checkpoint {

/// One layout of vision-language models: its parts' own layouts, and what stands beside them.
struct VlmFamily {
  std::string architecture;  ///< the class that Hugging Face loads it with
  std::function<TowerConfig(const Json&config)> vision, language;
  /// The prefix of the vision tower's names in the file, "vision_tower.".
  std::string vision_prefix;
  std::function<std::shared_ptr<Connector>(const Json& config, int64_t input_size,
                                           int64_t hidden_size)>
      connector;
  std::function<models::VlmOptions(const Json& config)> options;
  std::function<KeyMap(const Json& config)> key_map;  ///< of the whole model
  /// Names of the file and of the modules in `architecture`, where these differ; patterns as in
  /// KeyMap. PEFT names adapters by the modules.
  std::vector<std::pair<std::string, std::string>> module_names = {};
  /// Corrects a config.json by the file's weights, where transformers does so: a head that is not
  /// the embeddings' is not tied to them.
  std::function<void(Json& config, const io::Safetensors& file)> settle = {};
  /// config.json of a model with these parts; Error names the option that the layout cannot
  /// express.
  std::function<Json(const models::VlmImpl& model, const TowerConfig& vision,
                     const TowerConfig& language)>
      config;
  /// preprocessor_config.json of such a model; without it, that of the encoder.
  std::function<Json(const models::VlmImpl& model)> preprocessor = {};
  /// transformers' class that makes a model's inputs, where it reads images otherwise than their
  /// preprocessor_config.json says.
  std::string processor = "";
  /// A name of tokenizers::conversation_template(): how its models are asked where their folder
  /// has no chat template; "" = unknown.
  std::string conversation = "";
};

/// By config.json's model_type: idefics3, internvl, llava (LLaVA-1.5), llava_next, llava_onevision
/// (images), paligemma, smolvlm (images).
WEFT_API Registry<VlmFamily>& vlm_families();

}  // namespace weft::checkpoint
