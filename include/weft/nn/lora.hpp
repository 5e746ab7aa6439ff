#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <weft/nn/linear.hpp>

namespace weft::nn {

/// The defaults are those of LLaVA-1.5's LoRA recipe; PEFT's are rank 8, alpha 8, no dropout.
struct LoraOptions {
  int64_t rank = 128;
  double alpha = 256.0;
  double dropout = 0.05;  ///< on what A reads, in training
  /// Which layers: names as PEFT's target_modules reads a list of them ("q", "attention.q": a
  /// layer's whole name, or its end after a dot), and regular expressions (ECMAScript's) for the
  /// whole name, which have a character that no name has (one of *+?()[]{}|^$\). "all-linear": all
  /// but a language model's head.
  std::vector<std::string> targets = {"all-linear"};
  std::vector<std::string> exclude = {};  ///< in the same way; wins
  bool use_rslora = false;  ///< scaling alpha / sqrt(rank) (Kalajdzievski, 2023) for alpha / rank

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("rank", o.rank, "inner width of the adapters");
    v("alpha", o.alpha, "their weight, times 1 / rank");
    v("dropout", o.dropout, "on what they read, in training");
    v("targets", o.targets, "layers that get one: names, regular expressions or all-linear");
    v("exclude", o.exclude, "layers that get none");
    v("use_rslora", o.use_rslora, "weigh them by alpha / sqrt(rank)");
  }
};

/// Low-rank adapters (Hu et al., 2021, LoRA, section 4.1) on linear layers anywhere in `module`:
///   y = x W^T + b + scaling B A dropout(x),   scaling = alpha / rank,
/// A [rank, in] from kaiming_uniform(a = sqrt(5)), B [out, rank] zero, as PEFT starts them, so that
/// nothing changes at first. The factors are fp32 (fp64 on a fp64 layer), whatever the layer's
/// type; under autocast they follow the layer.
///
///     auto names = nn::add_lora(*model, {.rank = 16, .alpha = 32, .targets = {"q", "v"}});
///     nn::freeze_all_but_lora(*model);
///
/// `other_name` gives the name that another library has for a layer, or "": a name may then be
/// either's, and a regular expression is one for the other's. Returns the layers' names. Throws
/// c10::ValueError, which lists the layers, where none is meant, and where one has an adapter.
using LoraNames = std::function<std::string(const std::string& name)>;
WEFT_API std::vector<std::string> add_lora(torch::nn::Module& module, const LoraOptions& options,
                                           const LoraNames& other_name = {});

/// Adds scaling B A to the weights and takes the adapters off; returns how many. Results stay, but
/// for rounding.
WEFT_API int64_t merge_lora(torch::nn::Module& module);
/// Takes the adapters off; returns how many.
WEFT_API int64_t remove_lora(torch::nn::Module& module);

/// The adapters' parameters by name, "blocks.0.attention.q.lora_A.weight".
WEFT_API std::vector<std::pair<std::string, torch::Tensor>> lora_parameters(
    const torch::nn::Module& module);
/// Sets requires_grad of the adapters' parameters, and of no others. Throws c10::ValueError where
/// there are none.
WEFT_API void freeze_all_but_lora(torch::nn::Module& module);

/// Every linear layer of `module` by its name, itself left out.
WEFT_API std::vector<std::pair<std::string, Linear>> linear_layers(const torch::nn::Module& module);

/// An adapter for `layer` with factors as they start, of its device.
WEFT_API LoraAdapter make_lora(const LinearImpl& layer, int64_t rank, double alpha,
                               double dropout = 0.0, bool use_rslora = false);

}  // namespace weft::nn
