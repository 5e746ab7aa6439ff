#pragma once

#include <weft/nn/attention.hpp>
#include <weft/nn/mlp.hpp>

namespace weft::nn {

struct AttentionPoolOptions {
  AttentionOptions attention;
  MlpOptions mlp;     ///< of the same hidden_size
  double eps = 1e-6;  ///< of the norm
  double init_std = 0.02;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("attention", o.attention, required);
    v("mlp", o.mlp, required);
    v("eps", o.eps);
    v("init_std", o.init_std);
  }
};

/// Multi-head attention pooling, the "MAP" head of SigLIP and of Scaling Vision Transformers (Zhai
/// et al., 2022, section 3.2; Lee et al., 2019): a learned query attends to all tokens,
///   y = Attention(query, x);  pooled = y + Mlp(norm(y)).
class WEFT_API AttentionPoolImpl : public torch::nn::Module {
 public:
  explicit AttentionPoolImpl(const AttentionPoolOptions& o) : options(o) {
    const auto D = o.attention.hidden_size;
    TORCH_CHECK_VALUE(o.mlp.hidden_size == D,
                      "AttentionPool: attention and mlp must have one hidden_size, got ", D,
                      " and ", o.mlp.hidden_size);
    query = register_parameter("query", init_weight(at::empty({1, 1, D}), o.init_std));
    attention = register_module("attention", Attention(o.attention));
    norm = register_module("norm", Norm({.size = D, .eps = o.eps}));
    mlp = register_module("mlp", Mlp(o.mlp));
  }

  /// x [B, N, D]; mask [B, N] bool, true = real, undefined = all. Returns [B, D].
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& mask = {}) {
    const auto y = attention(query.expand({x.size(0), -1, -1}).to(x.scalar_type()), mask, x);
    return (y + mlp(norm(y))).select(1, 0);
  }

  AttentionPoolOptions options;
  torch::Tensor query;  // [1, 1, D]
  Attention attention{nullptr};
  Norm norm{nullptr};
  Mlp mlp{nullptr};
};
WEFT_MODULE(AttentionPool);

}  // namespace weft::nn
