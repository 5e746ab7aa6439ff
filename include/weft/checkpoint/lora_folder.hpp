#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <weft/checkpoint/lm_folder.hpp>
#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/nn/lora.hpp>

/// LoRA adapters (nn/lora.hpp) as folders that PEFT reads and writes: adapter_config.json and
/// adapter_model.safetensors, whose names are those of Hugging Face's modules.
namespace weft::checkpoint {

/// nn::add_lora, whose targets and exclude may also be Hugging Face's names ("q_proj",
/// "model.layers.0.self_attn.q_proj", "c_attn"). Where theirs is fused and ours is not, each of our
/// parts gets an adapter of the whole rank.
WEFT_API std::vector<std::string> add_lora(const LmFolder& folder, const nn::LoraOptions& options);
WEFT_API std::vector<std::string> add_lora(const VlmFolder& folder, const nn::LoraOptions& options);

/// Writes the model's adapters. Those of parts that Hugging Face fuses (GPT-2's c_attn, Phi-3's
/// qkv_proj) become one, of the parts' own rank where all read through the same A, as after
/// load_lora, and else of the sum of their ranks; the product is the same. The dropout written is
/// the largest. `base_model` is what base_model_name_or_path says, for PEFT's loaders. The folder
/// appears whole or not at all; files in it that are not the adapter's stay. Error where there is
/// no adapter, and names a layer that the family's layout does not have as a matrix of its own.
WEFT_API void save_lora(const LmFolder& folder, const std::filesystem::path& path,
                        const std::string& base_model = "");
WEFT_API void save_lora(const VlmFolder& folder, const std::filesystem::path& path,
                        const std::string& base_model = "");

/// Puts the adapters of a PEFT folder on the model; returns the names of the layers. Their number
/// type is as in nn::add_lora. An adapter of a fused module becomes one for each of our parts, with
/// a copy of A each. Error names the field that asks for more than LoRA (bias, DoRA,
/// modules_to_save
/// ...), or lists every weight that does not fit.
WEFT_API std::vector<std::string> load_lora(const LmFolder& folder,
                                            const std::filesystem::path& path);
WEFT_API std::vector<std::string> load_lora(const VlmFolder& folder,
                                            const std::filesystem::path& path);

}  // namespace weft::checkpoint
