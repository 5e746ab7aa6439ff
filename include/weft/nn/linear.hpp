#pragma once

#include <memory>
#include <optional>
#include <utility>

#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>

#include <weft/core/options.hpp>
#include <weft/nn/init.hpp>
#include <weft/nn/module.hpp>

namespace weft::nn {

struct LinearOptions {
  int64_t in_features;
  int64_t out_features;
  bool bias = true;
  double init_std = 0.02;  ///< weight ~ trunc_normal_(0, init_std), bias = 0

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("in_features", o.in_features, required);
    v("out_features", o.out_features, required);
    v("bias", o.bias);
    v("init_std", o.init_std);
  }
};

/// One factor of a LoraAdapter, its parameter `weight`.
class WEFT_API LoraFactorImpl : public torch::nn::Module {
 public:
  explicit LoraFactorImpl(torch::Tensor initial)
      : weight(register_parameter("weight", std::move(initial))) {}
  torch::Tensor weight;
};

/// What LoRA adds to a Linear (nn/lora.hpp): scaling B A dropout(x).
struct LoraAdapter {
  std::shared_ptr<LoraFactorImpl> a, b;  ///< [rank, in], [out, rank]
  double alpha;
  double dropout = 0.0;     ///< on what A reads, in training
  bool use_rslora = false;  ///< scaling alpha / sqrt(rank) in place of alpha / rank

  int64_t rank() const { return a->weight.size(0); }
  WEFT_API double scaling() const;
};

/// y = x W^T + b, and what an adapter adds. Differs from torch::nn::Linear in its initialisation,
/// that of ViT and BERT, which NoInitGuard switches off.
class WEFT_API LinearImpl : public torch::nn::Module {
 public:
  explicit LinearImpl(const LinearOptions& o) : options(o) {
    TORCH_CHECK_VALUE(o.in_features > 0 && o.out_features > 0,
                      "Linear: in_features and out_features must be positive, got ", o.in_features,
                      " and ", o.out_features);
    weight = register_parameter(
        "weight", init_weight(at::empty({o.out_features, o.in_features}), o.init_std));
    if (o.bias) bias = register_parameter("bias", init_constant(at::empty({o.out_features}), 0));
  }

  /// x [..., in_features] -> [..., out_features].
  torch::Tensor forward(const torch::Tensor& x) {
    return lora_ ? forward_lora(x) : at::linear(x, weight, bias);
  }

  /// W + scaling B A, [out, in], in W's type and with gradients: for whoever multiplies with the
  /// matrix instead of calling the layer. Throws c10::ValueError in training with an adapter that
  /// has dropout, which needs the layer's input.
  torch::Tensor full_weight() const;

  /// Puts an adapter on, with the parameters lora_A.weight and lora_B.weight, or takes it off.
  /// Throws c10::ValueError where one is there already, or where its shapes are not the layer's.
  void set_lora(std::optional<LoraAdapter> adapter);
  const std::optional<LoraAdapter>& lora() const { return lora_; }

  LinearOptions options;
  torch::Tensor weight, bias;  // [out, in], [out]; bias is undefined where there is none

 private:
  torch::Tensor forward_lora(const torch::Tensor& x) const;

  std::optional<LoraAdapter> lora_;
};
WEFT_MODULE(Linear);

}  // namespace weft::nn
