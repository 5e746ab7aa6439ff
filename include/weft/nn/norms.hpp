#pragma once

#include <optional>
#include <string_view>

#include <ATen/ops/empty.h>
#include <ATen/ops/layer_norm.h>

#include <weft/core/options.hpp>
#include <weft/nn/init.hpp>
#include <weft/nn/module.hpp>
#include <weft/ops/rms_norm.hpp>

namespace weft::nn {

enum class NormKind { layer_norm, rms_norm };

struct NormOptions {
  int64_t size;       ///< width of the last dimension, over which the statistics run
  double eps = 1e-6;  ///< added to the variance (rms_norm: to the mean square)
  NormKind kind = NormKind::layer_norm;
  bool bias = true;  ///< layer_norm only; rms_norm has none

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("size", o.size, required);
    v("eps", o.eps);
    v("kind", o.kind);
    v("bias", o.bias);
  }
};

/// LayerNorm (Ba et al., 2016) or RMSNorm (Zhang & Sennrich, 2019) over the last dimension:
///   (x - mean) / sqrt(var + eps) * weight + bias;  rms_norm: x / sqrt(mean x^2 + eps) * weight.
/// Reduced-precision inputs are computed in fp32; where the weight is fp32 (autocast) the result is
/// fp32 as well, where it is bf16 the result has the input's type.
class WEFT_API NormImpl : public torch::nn::Module {
 public:
  explicit NormImpl(const NormOptions& o) : options(o) {
    TORCH_CHECK_VALUE(o.size > 0, "Norm: size must be positive, got ", o.size);
    weight = register_parameter("weight", init_constant(at::empty({o.size}), 1));
    if (o.kind == NormKind::layer_norm && o.bias)
      bias = register_parameter("bias", init_constant(at::empty({o.size}), 0));
  }

  /// x [..., size] -> [..., size].
  torch::Tensor forward(const torch::Tensor& x) {
    TORCH_CHECK_VALUE(x.dim() > 0 && x.size(-1) == options.size,
                      "Norm: the last dimension must be ", options.size, ", got ", x.sizes());
    if (options.kind == NormKind::rms_norm) return ops::rms_norm(x, weight, options.eps);
    const bool reduced = x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf;
    const auto wide = reduced ? x.to(at::kFloat) : x;
    const auto scale =
        wide.scalar_type() == weight.scalar_type() ? weight : weight.to(wide.dtype());
    const auto shift = bias.defined() ? bias.to(wide.dtype()) : bias;
    const auto out = at::layer_norm(wide, {options.size}, scale, shift, options.eps);
    return reduced && weight.scalar_type() == x.scalar_type() ? out.to(x.scalar_type()) : out;
  }

  NormOptions options;
  torch::Tensor weight, bias;  // [size]; bias is undefined where there is none
};
WEFT_MODULE(Norm);

}  // namespace weft::nn

template <>
inline constexpr std::string_view weft::enum_names<weft::nn::NormKind>[] = {"layer_norm",
                                                                            "rms_norm"};
