#include <algorithm>
#include <cmath>
#include <regex>
#include <unordered_set>

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>

#include <weft/nn/autocast.hpp>
#include <weft/nn/lora.hpp>
#include <weft/nn/sockets.hpp>

namespace weft::nn {
namespace {

constexpr std::string_view kAllLinear = "all-linear";

/// One pattern of LoraOptions.
class LayerPattern {
 public:
  explicit LayerPattern(const std::string& text) : text_(text) {
    if (text.find_first_of("*+?()[]{}|^$\\") == std::string::npos) return;
    try {
      regex_.emplace(text, std::regex::ECMAScript | std::regex::optimize);
    } catch (const std::regex_error& error) {
      TORCH_CHECK_VALUE(false, "add_lora: '", text, "' is no regular expression: ", error.what());
    }
  }
  /// `other` may be "".
  bool matches(const std::string& name, const std::string& other) const {
    // A negated expression would hold for one of two names.
    if (regex_) return std::regex_match(other.empty() ? name : other, *regex_);
    const auto is_named = [&](const std::string& whole) {
      return whole == text_ || whole.ends_with("." + text_);
    };
    return is_named(name) || is_named(other);
  }

 private:
  std::string text_;
  std::optional<std::regex> regex_;
};

std::vector<LayerPattern> layer_patterns(const std::vector<std::string>& texts) {
  std::vector<LayerPattern> out;
  for (const auto& text : texts) out.emplace_back(text);
  return out;
}

bool any_matches(const std::vector<LayerPattern>& patterns, const std::string& name,
                 const std::string& other) {
  return std::ranges::any_of(
      patterns, [&](const LayerPattern& pattern) { return pattern.matches(name, other); });
}

// The weights that language models' heads multiply with, tables among them.
std::unordered_set<const void*> head_weights(torch::nn::Module& module) {
  std::unordered_set<const void*> out;
  module.apply([&](torch::nn::Module& part) {
    if (const auto* model = dynamic_cast<const LanguageModel*>(&part))
      out.insert(model->head().weight.unsafeGetTensorImpl());
  });
  return out;
}

// In the type of the product; autocast would round it.
torch::Tensor lora_product(const LoraAdapter& lora) {
  const auto& b = lora.b->weight;
  const AutocastGuard off(b.device().type(), at::kBFloat16, false);
  return b.matmul(lora.a->weight);
}

torch::Tensor with_product(const LinearImpl& layer) {
  const auto& lora = *layer.lora();
  return at::add(layer.weight, lora_product(lora), lora.scaling()).to(layer.weight.scalar_type());
}

template <class Use>
int64_t for_each_adapted(torch::nn::Module& module, Use&& use) {
  int64_t count = 0;
  module.apply([&](torch::nn::Module& part) {
    auto* layer = part.as<LinearImpl>();
    if (layer == nullptr || !layer->lora()) return;
    use(*layer);
    ++count;
  });
  return count;
}

}  // namespace

double LoraAdapter::scaling() const {
  const auto r = static_cast<double>(rank());
  return alpha / (use_rslora ? std::sqrt(r) : r);
}

void LinearImpl::set_lora(std::optional<LoraAdapter> adapter) {
  if (!adapter) {
    if (!lora_) return;
    unregister_module("lora_A");
    unregister_module("lora_B");
    lora_.reset();
    return;
  }
  TORCH_CHECK_VALUE(!lora_, "Linear: there is an adapter already; merge or remove it first");
  TORCH_CHECK_VALUE(adapter->a && adapter->b, "Linear: an adapter needs both factors");
  const auto &a = adapter->a->weight, &b = adapter->b->weight;
  TORCH_CHECK_VALUE(a.dim() == 2 && b.dim() == 2 && a.size(0) > 0 && a.size(0) == b.size(1) &&
                        a.size(1) == options.in_features && b.size(0) == options.out_features,
                    "Linear: an adapter must be A [rank, ", options.in_features, "] and B [",
                    options.out_features, ", rank], got ", a.sizes(), " and ", b.sizes());
  TORCH_CHECK_VALUE(adapter->dropout >= 0 && adapter->dropout < 1,
                    "Linear: an adapter's dropout must be in [0, 1), got ", adapter->dropout);
  register_module("lora_A", adapter->a);
  register_module("lora_B", adapter->b);
  lora_ = std::move(adapter);
}

torch::Tensor LinearImpl::forward_lora(const torch::Tensor& x) const {
  const auto base = at::linear(x, weight, bias);
  auto inner = x;
  // Autocast brings both to its own type.
  if (!at::autocast::is_autocast_enabled(x.device().type()))
    inner = inner.to(lora_->a->weight.scalar_type());
  if (is_training() && lora_->dropout > 0) inner = at::dropout(inner, lora_->dropout, true);
  const auto product = at::linear(at::linear(inner, lora_->a->weight), lora_->b->weight);
  return at::add(base, product, lora_->scaling()).to(base.scalar_type());
}

torch::Tensor LinearImpl::full_weight() const {
  if (!lora_) return weight;
  TORCH_CHECK_VALUE(!is_training() || lora_->dropout == 0,
                    "Linear: this weight is multiplied with as a whole, which an adapter's dropout "
                    "of ",
                    lora_->dropout, " cannot be part of; give this layer one without dropout");
  return with_product(*this);
}

std::vector<std::pair<std::string, Linear>> linear_layers(const torch::nn::Module& module) {
  std::vector<std::pair<std::string, Linear>> out;
  std::unordered_set<const void*> seen;
  for (const auto& item : module.named_modules(std::string(), /*include_self=*/false))
    if (const auto layer = std::dynamic_pointer_cast<LinearImpl>(item.value()))
      if (seen.insert(layer.get()).second) out.emplace_back(item.key(), Linear(layer));
  return out;
}

LoraAdapter make_lora(const LinearImpl& layer, int64_t rank, double alpha, double dropout,
                      bool use_rslora) {
  TORCH_CHECK_VALUE(rank > 0, "LoRA: rank must be positive, got ", rank);
  const auto type = layer.weight.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const auto options = layer.weight.options().dtype(type).requires_grad(false);
  const auto in = layer.options.in_features, out = layer.options.out_features;
  // kaiming_uniform(a = sqrt(5)) is uniform in +-sqrt(2 / (1 + 5)) sqrt(3 / in).
  auto a = init_uniform(at::empty({rank, in}, options), 1 / std::sqrt(static_cast<double>(in)));
  return {.a = std::make_shared<LoraFactorImpl>(std::move(a)),
          .b = std::make_shared<LoraFactorImpl>(at::zeros({out, rank}, options)),
          .alpha = alpha,
          .dropout = dropout,
          .use_rslora = use_rslora};
}

std::vector<std::string> add_lora(torch::nn::Module& module, const LoraOptions& options,
                                  const LoraNames& other_name) {
  const auto targets = layer_patterns(options.targets), exclude = layer_patterns(options.exclude);
  const bool all = std::ranges::find(options.targets, kAllLinear) != options.targets.end();
  const auto heads = all ? head_weights(module) : std::unordered_set<const void*>();
  const auto layers = linear_layers(module);
  std::vector<std::pair<std::string, Linear>> chosen;
  for (const auto& [name, layer] : layers) {
    const auto other = other_name ? other_name(name) : std::string();
    const bool meant = (all && !heads.contains(layer->weight.unsafeGetTensorImpl())) ||
                       any_matches(targets, name, other);
    if (!meant || any_matches(exclude, name, other)) continue;
    TORCH_CHECK_VALUE(!layer->lora(), "add_lora: ", name,
                      " has an adapter already; merge or remove it first");
    chosen.emplace_back(name, layer);
  }
  if (chosen.empty()) {
    std::string known;
    for (const auto& [name, layer] : layers) known += (known.empty() ? "" : ", ") + name;
    std::string wanted;
    for (const auto& target : options.targets) wanted += (wanted.empty() ? "" : ", ") + target;
    TORCH_CHECK_VALUE(false, "add_lora: no layer is meant by [", wanted,
                      "]; the linear layers are: ", known.empty() ? "none" : known);
  }
  std::vector<std::string> out;
  for (auto& [name, layer] : chosen) {
    auto adapter =
        make_lora(*layer, options.rank, options.alpha, options.dropout, options.use_rslora);
    layer->set_lora(std::move(adapter));
    out.push_back(name);
  }
  return out;
}

int64_t merge_lora(torch::nn::Module& module) {
  const at::NoGradGuard no_grad;
  return for_each_adapted(module, [](LinearImpl& layer) {
    layer.weight.copy_(with_product(layer));
    layer.set_lora(std::nullopt);
  });
}

int64_t remove_lora(torch::nn::Module& module) {
  return for_each_adapted(module, [](LinearImpl& layer) { layer.set_lora(std::nullopt); });
}

std::vector<std::pair<std::string, torch::Tensor>> lora_parameters(
    const torch::nn::Module& module) {
  std::vector<std::pair<std::string, torch::Tensor>> out;
  for (const auto& [name, layer] : linear_layers(module)) {
    if (!layer->lora()) continue;
    out.emplace_back(name + ".lora_A.weight", layer->lora()->a->weight);
    out.emplace_back(name + ".lora_B.weight", layer->lora()->b->weight);
  }
  return out;
}

void freeze_all_but_lora(torch::nn::Module& module) {
  const auto adapters = lora_parameters(module);
  TORCH_CHECK_VALUE(!adapters.empty(),
                    "freeze_all_but_lora: there is no adapter; call add_lora first");
  for (auto& parameter : module.parameters()) parameter.requires_grad_(false);
  for (const auto& [name, parameter] : adapters) parameter.requires_grad_(true);
}

}  // namespace weft::nn
