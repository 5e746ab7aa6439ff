#include <algorithm>
#include <sstream>

#include <weft/checkpoint/lora_folder.hpp>
#include <weft/train/vlm.hpp>
#include <weft/train/vlm_recipe.hpp>

namespace weft::train {
namespace {

/// "a,b" -> {"a", "b"}.
std::vector<std::string> parts_of(const std::string& tune) {
  std::vector<std::string> out;
  std::istringstream in(tune);
  for (std::string part; std::getline(in, part, ',');) out.push_back(part);
  return out;
}

}  // namespace

bool tunes(const VlmRecipe& recipe, const std::string& part) {
  const auto parts = parts_of(recipe.tune);
  return std::ranges::find(parts, part) != parts.end();
}

void apply_recipe(const VlmRecipe& recipe, const checkpoint::VlmFolder& folder) {
  auto model = folder.model;
  TORCH_CHECK_VALUE(recipe.lora_rank >= 0, "lora_rank must not be negative, got ",
                    recipe.lora_rank);
  TORCH_CHECK_VALUE(recipe.lora_rank > 0 || (!recipe.lora_alpha && recipe.lora_targets.empty()),
                    "lora_alpha and lora_targets are of adapters: they need a lora_rank");
  train_parts(*model, parts_of(recipe.tune));
  if (recipe.lora_rank == 0) return;
  nn::LoraOptions lora{
      .rank = recipe.lora_rank,
      .alpha = recipe.lora_alpha.value_or(2.0 * static_cast<double>(recipe.lora_rank)),
      .dropout = recipe.lora_dropout};
  if (!recipe.lora_targets.empty()) lora.targets = recipe.lora_targets;
  if (recipe.lora_targets.empty() || folder.layout.empty())
    checkpoint::add_lora(folder.language, lora);
  else
    checkpoint::add_lora(folder, lora);
  for (auto& [name, parameter] : nn::lora_parameters(*model)) parameter.requires_grad_(true);
  for (auto& [name, layer] : nn::linear_layers(*model)) {
    if (!layer->lora()) continue;
    layer->weight.requires_grad_(false);
    if (layer->bias.defined()) layer->bias.requires_grad_(false);
  }
}

GroupRule recipe_rates(const VlmRecipe& recipe, double lr) {
  std::vector<std::pair<std::string, double>> scales;
  const auto add = [&](const char* prefix, const std::optional<double>& own) {
    if (own && lr > 0) scales.emplace_back(prefix, *own / lr);
  };
  add("connector.", recipe.connector_lr);
  add("vision.", recipe.vision_lr);
  return scaled_rates(scales);
}

void merge_adapters(const checkpoint::VlmFolder& folder, const std::filesystem::path& path,
                    const std::string& base_model) {
  if (folder.layout.empty())
    checkpoint::save_lora(folder.language, path, base_model);
  else
    checkpoint::save_lora(folder, path, base_model);
  auto model = folder.model;
  nn::merge_lora(*model);
}

}  // namespace weft::train
