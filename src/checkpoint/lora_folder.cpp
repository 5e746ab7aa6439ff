#include <weft/checkpoint/lora_folder.hpp>

#include "checkpoint/lora_files.hpp"
#include "checkpoint/own_folder.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

namespace fs = std::filesystem;

template <class Use>
auto with_layers(const LmFolder& folder, Use&& use) {
  const auto& family = lm_families().at(folder.family);
  const auto map =
      family.key_map(config_or(folder.config, [&] { return family.config(*folder.model); }));
  const ModuleNames names;
  return use(TheirLinears(*folder.model, map, names));
}

template <class Use>
auto with_layers(const VlmFolder& folder, Use&& use) {
  if (folder.layout.empty())
    fail("LoRA: a vision-language model of no layout; write it with save_vlm and load it again");
  const auto& family = vlm_families().at(folder.layout);
  const auto map = family.key_map(folder.config);
  return use(TheirLinears(*folder.model, map, family.module_names));
}

std::vector<std::string> add_by_their_names(torch::nn::Module& model, const TheirLinears& layers,
                                            const nn::LoraOptions& options) {
  return nn::add_lora(model, options,
                      [&](const std::string& name) { return layers.module_of(name); });
}

}  // namespace

std::vector<std::string> add_lora(const LmFolder& folder, const nn::LoraOptions& options) {
  return with_layers(folder, [&](const TheirLinears& layers) {
    return add_by_their_names(*folder.model, layers, options);
  });
}
std::vector<std::string> add_lora(const VlmFolder& folder, const nn::LoraOptions& options) {
  auto model = folder.model;
  return with_layers(folder, [&](const TheirLinears& layers) {
    return add_by_their_names(*model, layers, options);
  });
}

void save_lora(const LmFolder& folder, const fs::path& path, const std::string& base_model) {
  with_layers(folder, [&](const TheirLinears& layers) {
    write_lora(layers, path, base_model, "CAUSAL_LM");
  });
}
void save_lora(const VlmFolder& folder, const fs::path& path, const std::string& base_model) {
  with_layers(folder,
              [&](const TheirLinears& layers) { write_lora(layers, path, base_model, Json()); });
}

std::vector<std::string> load_lora(const LmFolder& folder, const fs::path& path) {
  return with_layers(folder, [&](const TheirLinears& layers) { return read_lora(layers, path); });
}
std::vector<std::string> load_lora(const VlmFolder& folder, const fs::path& path) {
  return with_layers(folder, [&](const TheirLinears& layers) { return read_lora(layers, path); });
}

}  // namespace weft::checkpoint
