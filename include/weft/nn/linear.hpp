#pragma once

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

/// y = x W^T + b. Differs from torch::nn::Linear in its initialisation, that of ViT and BERT, which
/// NoInitGuard switches off.
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
  torch::Tensor forward(const torch::Tensor& x) { return at::linear(x, weight, bias); }

  LinearOptions options;
  torch::Tensor weight, bias;  // [out, in], [out]; bias is undefined where there is none
};
WEFT_MODULE(Linear);

}  // namespace weft::nn
