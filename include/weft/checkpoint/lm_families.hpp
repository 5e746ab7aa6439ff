#pragma once

#include <functional>
#include <memory>
#include <string>

#include <weft/checkpoint/key_map.hpp>
#include <weft/core/json.hpp>
#include <weft/core/registry.hpp>
#include <weft/nn/sockets.hpp>

namespace weft::checkpoint {

/// One layout of decoder language models: a configuration of weft's modules and a key map.
struct LmFamily {
  std::string architecture;  ///< the class that Hugging Face loads it with, "LlamaForCausalLM"
  /// Builds the model from config.json. Fields that are absent take Hugging Face's defaults; one
  /// that changes the mathematics in a way that weft lacks is an Error that names it.
  std::function<std::shared_ptr<LanguageModel>(const Json& config)> make;
  std::function<KeyMap(const Json& config)> key_map;
  /// config.json of a model; Error names the option that the layout cannot express.
  std::function<Json(const LanguageModel& model)> config;
};

/// By config.json's model_type: gemma, gemma2, gemma3_text, gpt2, llama (SmolLM, Llama 2 and 3),
/// mistral, opt, phi3, qwen2 (2.5), qwen3. Users add theirs with lm_families().add(...).
WEFT_API Registry<LmFamily>& lm_families();

}  // namespace weft::checkpoint
