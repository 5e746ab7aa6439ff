#pragma once

#include <ATen/ops/dropout.h>
#include <ATen/ops/rand.h>

#include <weft/nn/attention.hpp>
#include <weft/nn/mlp.hpp>

namespace weft::nn {

struct TransformerBlockOptions {
  AttentionOptions attention;
  MlpOptions mlp;  ///< of the same hidden_size
  NormKind norm = NormKind::layer_norm;
  double eps = 1e-6;         ///< of norm1 and norm2
  bool post_norm = false;    ///< norms after the residual sums (BERT) instead of before
  bool sandwich = false;     ///< norms of the branches' results too (Gemma 2); with pre-norm only
  double layer_scale = 0.0;  ///< initial value of scale1 and scale2; 0 = there are none
  double drop_path = 0.0;    ///< chance to skip a branch for a sample, in training
  double dropout = 0.0;      ///< on each branch's result, in training

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("attention", o.attention, required);
    v("mlp", o.mlp, required);
    v("norm", o.norm);
    v("eps", o.eps);
    v("post_norm", o.post_norm);
    v("sandwich", o.sandwich);
    v("layer_scale", o.layer_scale);
    v("drop_path", o.drop_path);
    v("dropout", o.dropout);
  }
};

/// One transformer layer. Pre-norm (ViT, GPT-2):
///   x <- x + scale1 * Attention(norm1(x));  x <- x + scale2 * Mlp(norm2(x));
/// post-norm (Vaswani et al., 2017; BERT):
///   x <- norm1(x + scale1 * Attention(x));  x <- norm2(x + scale2 * Mlp(x)).
/// A sandwich is pre-norm with branch_norm1 and branch_norm2 around Attention and Mlp.
/// scale1 and scale2 are LayerScale (Touvron et al., 2021); drop path is stochastic depth by sample
/// (Huang et al., 2016).
class WEFT_API TransformerBlockImpl : public torch::nn::Module {
 public:
  explicit TransformerBlockImpl(const TransformerBlockOptions& o) : options(o) {
    TORCH_CHECK_VALUE(o.drop_path >= 0 && o.drop_path < 1,
                      "TransformerBlock: drop_path must be in [0, 1), got ", o.drop_path);
    const auto D = o.attention.hidden_size;
    TORCH_CHECK_VALUE(o.mlp.hidden_size == D,
                      "TransformerBlock: attention and mlp must have one hidden_size, got ", D,
                      " and ", o.mlp.hidden_size);
    TORCH_CHECK_VALUE(!o.sandwich || !o.post_norm,
                      "TransformerBlock: sandwich goes with pre-norm, not with post_norm");
    const NormOptions norm{.size = D, .eps = o.eps, .kind = o.norm};
    norm1 = register_module("norm1", Norm(norm));
    attention = register_module("attention", Attention(o.attention));
    options.attention = attention->options;
    if (o.layer_scale != 0) scale1 = make_scale("scale1");
    norm2 = register_module("norm2", Norm(norm));
    mlp = register_module("mlp", Mlp(o.mlp));
    if (o.layer_scale != 0) scale2 = make_scale("scale2");
    if (o.sandwich) {
      branch_norm1 = register_module("branch_norm1", Norm(norm));
      branch_norm2 = register_module("branch_norm2", Norm(norm));
    }
  }

  /// x [B, N, D]; mask, rotation and cache as in Attention. Returns [B, N, D].
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& mask = {},
                        const Rotation& rotation = {}, KeyValues* cache = nullptr) {
    const auto attend = [&](const torch::Tensor& y) {
      return attention(y, mask, torch::Tensor(), rotation, cache);
    };
    if (options.post_norm) {
      const auto y = norm1(x + branch(attend(x), scale1));
      return norm2(y + branch(mlp(y), scale2));
    }
    auto attended = attend(norm1(x));
    if (branch_norm1) attended = branch_norm1(attended);
    const auto y = x + branch(attended, scale1);
    auto inner = mlp(norm2(y));
    if (branch_norm2) inner = branch_norm2(inner);
    return y + branch(inner, scale2);
  }

  TransformerBlockOptions options;  // attention with its defaults filled in
  Norm norm1{nullptr}, norm2{nullptr};
  Norm branch_norm1{nullptr}, branch_norm2{nullptr};  // empty without sandwich
  Attention attention{nullptr};
  Mlp mlp{nullptr};
  torch::Tensor scale1, scale2;  // [D]; undefined without layer scale

 private:
  torch::Tensor make_scale(const char* name) {
    return register_parameter(
        name, init_constant(at::empty({options.attention.hidden_size}), options.layer_scale));
  }

  torch::Tensor branch(torch::Tensor y, const torch::Tensor& scale) const {
    if (is_training() && options.dropout > 0) y = at::dropout(y, options.dropout, true);
    if (scale.defined()) y = y * scale;
    if (!is_training() || options.drop_path == 0) return y;
    const double keep = 1 - options.drop_path;
    const auto kept = at::rand({y.size(0), 1, 1}, y.options().dtype(at::kFloat)).lt(keep);
    return y / keep * kept;
  }
};
WEFT_MODULE(TransformerBlock);

}  // namespace weft::nn
