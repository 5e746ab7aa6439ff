#include <algorithm>
#include <map>
#include <optional>
#include <regex>

#include <fmt/ranges.h>

#include <ATen/ATen.h>

#include <weft/checkpoint/tensors.hpp>
#include <weft/io/safetensors.hpp>
#include <weft/nn/init.hpp>
#include <weft/nn/lora.hpp>

#include "checkpoint/lora_files.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kBaseWeight = ".base_layer.weight";

/// What adapter_config.json says.
struct AdapterConfig {
  Json config;
  std::string file;
  int64_t rank;
  double alpha, dropout;
  bool rslora;

  /// rank_pattern and alpha_pattern: the first whose expression is the name or its end.
  Json of(const char* patterns, const std::string& module, const Json& otherwise) const {
    const auto known = config.get(patterns, Json::object());
    for (const auto& key : known.keys()) {
      try {
        if (std::regex_match(module, std::regex("(?:.*\\.)?(?:" + key + ")"))) return known.at(key);
      } catch (const std::regex_error& error) {
        fail("{}: '{}': '{}' is no regular expression: {}", file, patterns, key, error.what());
      }
    }
    return otherwise;
  }
};

bool is_set(const Json& value) {
  if (value.is_null()) return false;
  if (value.is_bool()) return value.as_bool();
  if (value.is_array() || value.is_object()) return value.size() > 0;
  return true;
}

AdapterConfig read_adapter_config(const fs::path& folder) {
  const auto path = folder / kAdapterConfig;
  if (!fs::is_directory(folder))
    fail("{}: expected a folder with {} and {}, found {}", folder.string(), kAdapterConfig,
         kAdapterWeights, fs::exists(folder) ? "a file" : "nothing");
  const auto config = Json::read(path);
  const auto file = path.string();
  const auto type = config.get("peft_type", "");
  if (type != Json("LORA")) fail("{}: 'peft_type' must be \"LORA\", found {}", file, type.dump());
  const auto bias = config.get("bias", "none");
  if (bias != Json("none"))
    fail("{}: 'bias' must be \"none\", found {}: biases are not part of an adapter", file,
         bias.dump());
  for (const auto* field :
       {"use_dora", "use_qalora", "lora_bias", "modules_to_save", "layer_replication",
        "target_parameters", "trainable_token_indices", "alora_invocation_tokens", "arrow_config"})
    if (is_set(config.get(field)))
      fail("{}: '{}' is {}, which is more than LoRA and is not supported", file, field,
           config.at(field).dump());
  const auto start = config.get("init_lora_weights", true);
  if (start.is_string() && start != Json("gaussian") && start != Json("eva") &&
      start != Json("orthogonal"))
    fail(
        "{}: 'init_lora_weights' is {}, with which the base model's weights are changed too; save "
        "it as plain LoRA (PEFT's path_initial_model_for_weight_conversion)",
        file, start.dump());
  AdapterConfig out{.config = config,
                    .file = file,
                    .rank = config.get("r", 8).as_int(),
                    .alpha = config.get("lora_alpha", 8).as_double(),
                    .dropout = config.get("lora_dropout", 0.0).as_double(),
                    .rslora = config.get("use_rslora", false).as_bool()};
  if (out.dropout < 0 || out.dropout >= 1)
    fail("{}: 'lora_dropout' must be in [0, 1), found {}", file, out.dropout);
  return out;
}

/// Both factors of an adapter in the file.
struct Factors {
  const io::TensorView* a = nullptr;
  const io::TensorView* b = nullptr;
};

std::string shape_of(const io::TensorView& view) {
  return fmt::format("[{}]", fmt::join(view.shape, ", "));
}

// PEFT writes the weight of a head beside its adapter, since its rows may have been added to.
std::optional<std::string> base_weight_problem(const io::TensorView& view, std::string_view module,
                                               const TheirLinears& layers) {
  const auto found = layers.modules().find(layers.canonical(std::string(module)));
  if (found == layers.modules().end())
    return fmt::format("{} {}: the model has no linear layer {}", view.name, shape_of(view),
                       module);
  std::vector<at::Tensor> parts;
  for (const auto& part : found->second.parts) parts.push_back(part.layer->weight);
  auto ours = at::cat(parts);
  if (found->second.transposed) ours = ours.t();
  const auto theirs = borrow_tensor(view).to(ours.options());
  if (at::equal(theirs, ours)) return std::nullopt;
  return fmt::format(
      "{} {}: not the weight of the model, whose shape is [{}]; it is an adapter "
      "for another one",
      view.name, shape_of(view), fmt::join(ours.sizes(), ", "));
}

/// The factors by module, in the spelling of `layers`; what is no factor goes to `problems`.
std::map<std::string, Factors> factors_by_module(const io::Safetensors& file,
                                                 const TheirLinears& layers,
                                                 std::vector<std::string>& problems) {
  std::map<std::string, Factors> out;
  for (const auto& view : file.tensors()) {
    const std::string_view name = view.name;
    const bool a = name.ends_with(kFactorA);
    if (name.starts_with(kAdapterPrefix) && name.ends_with(kBaseWeight)) {
      const auto length = name.size() - kAdapterPrefix.size() - kBaseWeight.size();
      if (auto problem =
              base_weight_problem(view, name.substr(kAdapterPrefix.size(), length), layers))
        problems.push_back(std::move(*problem));
      continue;
    }
    if (!name.starts_with(kAdapterPrefix) || (!a && !name.ends_with(kFactorB))) {
      problems.push_back(fmt::format("{} {}: not a factor of an adapter", name, shape_of(view)));
      continue;
    }
    const auto module = layers.canonical(
        std::string(name.substr(kAdapterPrefix.size(), name.size() - kAdapterPrefix.size() -
                                                           (a ? kFactorA : kFactorB).size())));
    if (!layers.modules().contains(module)) {
      problems.push_back(
          fmt::format("{} {}: the model has no linear layer {}", name, shape_of(view), module));
      continue;
    }
    auto& slot = a ? out[module].a : out[module].b;
    if (slot != nullptr)
      problems.push_back(fmt::format("{}: a second copy of {}", name, slot->name));
    slot = &view;
  }
  return out;
}

void check_factors(const std::string& name, const TheirLinear& module, const Factors& factors,
                   int64_t rank, std::vector<std::string>& problems) {
  if (factors.a == nullptr || factors.b == nullptr) {
    problems.push_back(fmt::format("{}: only one of both factors", name));
    return;
  }
  if (rank <= 0) {
    problems.push_back(
        fmt::format("{}: its rank in {} must be positive, found {}", name, kAdapterConfig, rank));
    return;
  }
  const auto check = [&](const io::TensorView& view, int64_t rows, int64_t columns) {
    if (view.shape != std::vector{rows, columns})
      problems.push_back(
          fmt::format("{}: expected [{}, {}], found {}", view.name, rows, columns, shape_of(view)));
    else if (!at::isFloatingType(scalar_type(view.dtype)))
      problems.push_back(fmt::format("{}: expected a floating-point type, found {}", view.name,
                                     io::name_of(view.dtype)));
  };
  check(*factors.a, rank, module.parts.front().layer->options.in_features);
  check(*factors.b, module.outputs(), rank);
  for (const auto& part : module.parts)
    if (is_adapted(part))
      problems.push_back(
          fmt::format("{} has an adapter already; merge or remove it first", part.name));
}

}  // namespace

std::vector<std::string> read_lora(const TheirLinears& layers, const fs::path& path) {
  const at::NoGradGuard no_grad;
  const auto config = read_adapter_config(path);
  if (!fs::exists(path / kAdapterWeights) && fs::exists(path / "adapter_model.bin"))
    fail(
        "{}: holds adapter_model.bin only, which is a pickle; save it with safe_serialization=True",
        path.string());
  const auto file = io::Safetensors::open(path / kAdapterWeights);
  std::vector<std::string> problems;
  const auto found = factors_by_module(file, layers, problems);
  if (found.empty() && problems.empty()) problems.push_back("there is no adapter in it");
  const auto rank_of = [&](const std::string& name) {
    return config.of("rank_pattern", name, config.rank).as_int();
  };
  for (const auto& [name, factors] : found)
    check_factors(name, layers.modules().at(name), factors, rank_of(name), problems);
  if (!problems.empty())
    fail("{}: the adapter does not fit the model ({}):\n  {}", (path / kAdapterWeights).string(),
         problems.size(), fmt::join(problems, "\n  "));
  std::vector<std::string> out;
  const nn::NoInitGuard no_init;
  for (const auto& [name, factors] : found) {
    const auto alpha = config.of("alpha_pattern", name, config.alpha).as_double();
    const auto a = borrow_tensor(*factors.a), b = borrow_tensor(*factors.b);
    int64_t row = 0;
    for (auto part : layers.modules().at(name).parts) {
      const auto rows = part.layer->options.out_features;
      auto adapter =
          nn::make_lora(*part.layer, rank_of(name), alpha, config.dropout, config.rslora);
      adapter.a->weight.copy_(a);
      adapter.b->weight.copy_(b.narrow(0, row, rows));
      part.layer->set_lora(std::move(adapter));
      row += rows;
      out.push_back(part.name);
    }
  }
  std::ranges::sort(out);
  return out;
}

}  // namespace weft::checkpoint
