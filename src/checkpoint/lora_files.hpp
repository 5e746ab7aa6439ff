// The files of LoRA adapters as PEFT lays them out.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <weft/core/json.hpp>

#include "checkpoint/lora_layers.hpp"

namespace weft::checkpoint {

inline constexpr const char* kAdapterConfig = "adapter_config.json";
inline constexpr const char* kAdapterWeights = "adapter_model.safetensors";
/// What stands in front of a module's name, and behind it.
inline constexpr std::string_view kAdapterPrefix = "base_model.model.";
inline constexpr std::string_view kFactorA = ".lora_A.weight", kFactorB = ".lora_B.weight";

/// As save_lora; `task` is PEFT's task_type.
void write_lora(const TheirLinears& layers, const std::filesystem::path& path,
                const std::string& base_model, const Json& task);
/// As load_lora.
std::vector<std::string> read_lora(const TheirLinears& layers, const std::filesystem::path& path);

}  // namespace weft::checkpoint
