#include "checkpoint/lora_layers.hpp"

#include <optional>

#include <weft/nn/lora.hpp>

#include "checkpoint/name_pattern.hpp"

namespace weft::checkpoint {
namespace {

constexpr std::string_view kWeight = ".weight";

std::string renamed(const std::string& name, const ModuleNames& names, bool to_modules) {
  for (const auto& [file, module] : names)
    if (const auto captures = match(to_modules ? file : module, name))
      return fill(to_modules ? module : file, *captures);
  return name;
}

std::optional<std::string> without_weight(const std::string& name) {
  if (!name.ends_with(kWeight)) return std::nullopt;
  return name.substr(0, name.size() - kWeight.size());
}

}  // namespace

int64_t TheirLinear::outputs() const {
  int64_t sum = 0;
  for (const auto& part : parts) sum += part.layer->options.out_features;
  return sum;
}

TheirLinears::TheirLinears(const torch::nn::Module& model, const KeyMap& map,
                           const ModuleNames& names)
    : map_(map), names_(names) {
  std::map<std::string, nn::Linear> layers;
  for (const auto& [name, layer] : nn::linear_layers(model)) layers.emplace(name, layer);
  for (const auto& [name, layer] : layers) {
    const auto place = map.place(name + std::string(kWeight));
    const auto theirs =
        place ? without_weight(renamed(place->theirs, names, true)) : std::optional<std::string>();
    if (!theirs) {
      others_.push_back({name, layer});
      continue;
    }
    if (modules_.contains(*theirs)) continue;  // an earlier part brought it along
    TheirLinear module{.transposed = place->transposed};
    for (const auto& part : place->parts) {
      const auto found = layers.find(without_weight(part).value_or(""));
      if (found != layers.end()) module.parts.push_back({found->first, found->second});
    }
    if (module.parts.size() == place->parts.size())
      modules_.emplace(*theirs, std::move(module));
    else
      others_.push_back({name, layer});
  }
}

std::string TheirLinears::module_of(const std::string& ours) const {
  for (const auto& [theirs, module] : modules_)
    for (const auto& part : module.parts)
      if (part.name == ours) return theirs;
  return "";
}

std::string TheirLinears::canonical(const std::string& module) const {
  const auto file = map_.canonical(renamed(module + std::string(kWeight), names_, false));
  return without_weight(renamed(file, names_, true)).value_or(module);
}

}  // namespace weft::checkpoint
