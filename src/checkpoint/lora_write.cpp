#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include <weft/checkpoint/tensors.hpp>
#include <weft/io/folder.hpp>

#include "checkpoint/lora_files.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

/// The adapter of a module of theirs.
struct TheirAdapter {
  at::Tensor a, b;  // [rank, in], [out, rank]
  double alpha;
  int64_t rank() const { return a.size(0); }
};

double alpha_for(double scaling, int64_t rank, bool rslora) {
  const auto r = static_cast<double>(rank);
  return scaling * (rslora ? std::sqrt(r) : r);
}

TheirAdapter their_adapter(const TheirLinear& module, bool rslora) {
  const auto adapter_of = [](const TheirLinear::Part& part) -> const auto& {
    return part.layer->lora();
  };
  const auto& parts = module.parts;
  const auto first = std::ranges::find_if(
      parts, [&](const TheirLinear::Part& part) { return adapter_of(part).has_value(); });
  const auto& one = *adapter_of(*first);
  const bool same = std::ranges::all_of(parts, [&](const TheirLinear::Part& part) {
    const auto& other = adapter_of(part);
    return other && other->scaling() == one.scaling() && at::equal(other->a->weight, one.a->weight);
  });
  std::vector<at::Tensor> a, b;
  if (same) {
    for (const auto& part : parts) b.push_back(adapter_of(part)->b->weight);
    const auto alpha =
        one.use_rslora == rslora ? one.alpha : alpha_for(one.scaling(), one.rank(), rslora);
    return {one.a->weight, at::cat(b), alpha};
  }
  // Each part reads its own rows of A: B is block diagonal.
  int64_t rank = 0, row = 0, column = 0;
  for (const auto& part : parts)
    if (const auto& lora = adapter_of(part)) {
      a.push_back(lora->a->weight);
      rank += lora->rank();
    }
  auto whole = at::zeros({module.outputs(), rank}, one.b->weight.options().requires_grad(false));
  for (const auto& part : parts) {
    const auto rows = part.layer->options.out_features;
    if (const auto& lora = adapter_of(part)) {
      whole.narrow(0, row, rows)
          .narrow(1, column, lora->rank())
          .copy_(lora->b->weight * (lora->scaling() / one.scaling()));
      column += lora->rank();
    }
    row += rows;
  }
  return {at::cat(a), whole, alpha_for(one.scaling(), rank, rslora)};
}

Json number(double value) {
  return value == std::floor(value) && std::abs(value) < 1e15 ? Json(static_cast<int64_t>(value))
                                                              : Json(value);
}

Json adapter_config(const std::map<std::string, TheirAdapter>& adapters, double dropout,
                    bool rslora, bool transposed) {
  // What most have stands for all; patterns tell of the others.
  std::map<std::pair<int64_t, double>, int64_t> counts;
  for (const auto& [name, adapter] : adapters) ++counts[{adapter.rank(), adapter.alpha}];
  const auto usual =
      std::ranges::max_element(counts, {}, [](const auto& entry) { return entry.second; })->first;
  auto ranks = Json::object(), alphas = Json::object();
  std::vector<std::string> names;
  for (const auto& [name, adapter] : adapters) {
    names.push_back(name);
    if (adapter.rank() != usual.first) ranks.set("^" + name, adapter.rank());
    if (adapter.alpha != usual.second) alphas.set("^" + name, number(adapter.alpha));
  }
  return Json::object({{"peft_type", "LORA"},
                       {"r", usual.first},
                       {"lora_alpha", number(usual.second)},
                       {"lora_dropout", dropout},
                       {"use_rslora", rslora},
                       {"rank_pattern", ranks},
                       {"alpha_pattern", alphas},
                       {"target_modules", names},
                       {"fan_in_fan_out", transposed},
                       {"bias", "none"},
                       {"init_lora_weights", true},
                       {"inference_mode", true}});
}

}  // namespace

void write_lora(const TheirLinears& layers, const std::filesystem::path& path,
                const std::string& base_model, const Json& task) {
  const at::NoGradGuard no_grad;
  for (const auto& part : layers.others())
    if (is_adapted(part))
      fail(
          "{}: the family's layout has no matrix of its own for {}, whose adapter PEFT could not "
          "read; merge it (nn::merge_lora) or leave this layer out (LoraOptions::exclude)",
          path.string(), part.name);
  bool rslora = true, transposed = true;
  double dropout = 0;
  for (const auto& [theirs, module] : layers.modules())
    for (const auto& part : module.parts)
      if (const auto& lora = part.layer->lora()) {
        rslora &= lora->use_rslora;
        transposed &= module.transposed;
        dropout = std::max(dropout, lora->dropout);
      }
  std::map<std::string, TheirAdapter> adapters;
  TensorMap tensors;
  for (const auto& [theirs, module] : layers.modules()) {
    if (std::ranges::none_of(module.parts, is_adapted)) continue;
    const auto adapter = their_adapter(module, rslora);
    const auto name = std::string(kAdapterPrefix) + theirs;
    tensors.emplace(name + std::string(kFactorA), adapter.a);
    tensors.emplace(name + std::string(kFactorB), adapter.b);
    adapters.emplace(theirs, adapter);
  }
  if (adapters.empty())
    fail("{}: the model has no adapter to save; put one on with add_lora", path.string());
  auto config = adapter_config(adapters, dropout, rslora, transposed);
  config.set("task_type", task)
      .set("base_model_name_or_path", base_model.empty() ? Json() : Json(base_model));
  io::FolderWriter writer(path);
  write_tensors(writer.folder() / kAdapterWeights, tensors, {{"format", "pt"}});
  config.write(writer.folder() / kAdapterConfig);
  writer.keep_others([](std::string_view name) { return name.starts_with("adapter_model."); });
  writer.commit();
}

}  // namespace weft::checkpoint
