#pragma once

#include <tuple>

#include <ATen/ops/dropout.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <weft/nn/attention_record.hpp>
#include <weft/nn/key_value_cache.hpp>
#include <weft/nn/linear.hpp>
#include <weft/nn/norms.hpp>
#include <weft/nn/rotary.hpp>
#include <weft/ops/rope.hpp>

namespace weft::nn {

struct AttentionOptions {
  int64_t hidden_size;       ///< D
  int64_t num_heads;         ///< H
  int64_t num_kv_heads = 0;  ///< heads of keys and values, a divisor of num_heads; 0 = num_heads
  int64_t head_dim = 0;      ///< 0 = hidden_size / num_heads
  bool q_bias = true, k_bias = true, v_bias = true, out_bias = true;
  bool qk_norm = false;  ///< norm each head's queries and keys (Dehghani et al., 2023)
  NormKind qk_norm_kind = NormKind::layer_norm;
  bool qk_norm_whole = false;  ///< those norms run over all heads at once (InternViT, OLMo 2)
  double eps = 1e-6;           ///< of those norms
  double scale = 0.0;          ///< of the scores; 0 = 1 / sqrt(head_dim)
  double soft_cap = 0.0;  ///< scores become soft_cap * tanh(score / soft_cap) (Gemma 2); 0 = none
  bool causal = false;    ///< token i sees tokens 0..i
  double dropout = 0.0;   ///< on the attention weights, in training
  double init_std = 0.02;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("hidden_size", o.hidden_size, required);
    v("num_heads", o.num_heads, required);
    v("num_kv_heads", o.num_kv_heads);
    v("head_dim", o.head_dim);
    v("q_bias", o.q_bias);
    v("k_bias", o.k_bias);
    v("v_bias", o.v_bias);
    v("out_bias", o.out_bias);
    v("qk_norm", o.qk_norm);
    v("qk_norm_kind", o.qk_norm_kind);
    v("qk_norm_whole", o.qk_norm_whole);
    v("eps", o.eps);
    v("scale", o.scale);
    v("soft_cap", o.soft_cap);
    v("causal", o.causal);
    v("dropout", o.dropout);
    v("init_std", o.init_std);
  }
};

/// Multi-head attention (Vaswani et al., 2017, section 3.2.2) of tokens to themselves or to a
/// context, with grouped keys and values (Ainslie et al., 2023): softmax(q k^T * scale) v per head,
/// softmax in fp32.
class WEFT_API AttentionImpl : public torch::nn::Module {
 public:
  explicit AttentionImpl(const AttentionOptions& o) : options(o) {
    TORCH_CHECK_VALUE(o.hidden_size > 0 && o.num_heads > 0,
                      "Attention: hidden_size and num_heads must be positive, got ", o.hidden_size,
                      " and ", o.num_heads);
    if (options.num_kv_heads == 0) options.num_kv_heads = o.num_heads;
    TORCH_CHECK_VALUE(o.num_heads % options.num_kv_heads == 0, "Attention: num_heads (",
                      o.num_heads, ") must be a multiple of num_kv_heads (", options.num_kv_heads,
                      ")");
    if (options.head_dim == 0) {
      TORCH_CHECK_VALUE(o.hidden_size % o.num_heads == 0, "Attention: hidden_size (", o.hidden_size,
                        ") must be a multiple of num_heads (", o.num_heads,
                        ") where head_dim is not given");
      options.head_dim = o.hidden_size / o.num_heads;
    }
    const auto inner = options.num_heads * options.head_dim;
    const auto kv_inner = options.num_kv_heads * options.head_dim;
    const auto linear = [&](const char* name, int64_t in, int64_t out, bool bias) {
      return register_module(name, Linear(LinearOptions{in, out, bias, o.init_std}));
    };
    q = linear("q", o.hidden_size, inner, o.q_bias);
    k = linear("k", o.hidden_size, kv_inner, o.k_bias);
    v = linear("v", o.hidden_size, kv_inner, o.v_bias);
    out = linear("out", inner, o.hidden_size, o.out_bias);
    if (o.qk_norm) {
      const auto norm = [&](const char* name, int64_t whole) {
        const auto size = o.qk_norm_whole ? whole : options.head_dim;
        return register_module(name, Norm({.size = size, .eps = o.eps, .kind = o.qk_norm_kind}));
      };
      q_norm = norm("q_norm", inner);
      k_norm = norm("k_norm", kv_inner);
    }
  }

  /// x [B, N, D]; context [B, M, D] holds what is attended to, undefined = x itself, M = N. mask
  /// undefined, [B, M] bool (true = a real token, which may be attended to) or [B or 1, 1|H, N, M]
  /// bool (true = may attend; a causal layer adds nothing to it). Returns [B, N, D]. Every token
  /// must see a token. rotation turns queries and keys by position; with a cache, x's keys and
  /// values join those of earlier tokens, M is the number of all, and the last of them is x's last.
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& mask = {},
                        const torch::Tensor& context = {}, const Rotation& rotation = {},
                        KeyValues* cache = nullptr) {
    TORCH_CHECK_VALUE(x.dim() == 3 && x.size(2) == options.hidden_size,
                      "Attention: x must be [B, N, ", options.hidden_size, "], got ", x.sizes());
    TORCH_CHECK_VALUE(!context.defined() || (context.dim() == 3 && context.size(0) == x.size(0) &&
                                             context.size(2) == options.hidden_size),
                      "Attention: context must be [", x.size(0), ", M, ", options.hidden_size,
                      "], got ", context.sizes());
    TORCH_CHECK_VALUE(
        !context.defined() || (!options.causal && !rotation.defined() && cache == nullptr),
        "Attention: causal, rotated or cached attention takes no context");
    const auto& source = context.defined() ? context : x;
    const auto heads = [&](const torch::Tensor& y, int64_t count) {
      return y.view({y.size(0), y.size(1), count, options.head_dim}).transpose(1, 2);
    };
    const bool whole = options.qk_norm && options.qk_norm_whole;
    auto values = heads(v(source), options.num_kv_heads);  // [B, H', M, d]
    const auto normed = [&](const torch::Tensor& y, Norm& norm) {
      return whole ? norm(y).to(values.scalar_type()) : y;
    };
    auto queries = heads(normed(q(x), q_norm), options.num_heads);       // [B, H, N, d]
    auto keys = heads(normed(k(source), k_norm), options.num_kv_heads);  // [B, H', M, d]
    if (options.qk_norm && !whole) {
      queries = q_norm(queries).to(values.scalar_type());
      keys = k_norm(keys).to(values.scalar_type());
    }
    if (rotation.defined()) {
      queries = ops::rope(queries, rotation.cos, rotation.sin);
      keys = ops::rope(keys, rotation.cos, rotation.sin);
    }
    if (cache != nullptr) std::tie(keys, values) = cache->append(keys, values);
    const auto allowed = attention_mask(x, mask, keys.size(2));
    // One new token sees all that the cache holds.
    const bool causal = options.causal && !allowed.defined() && queries.size(2) > 1;
    TORCH_CHECK_VALUE(!causal || queries.size(2) == keys.size(2), "Attention: ", queries.size(2),
                      " tokens behind ", keys.size(2) - queries.size(2),
                      " cached ones need a mask");
    const AttentionScores how{allowed, causal, options.scale, options.soft_cap};
    if (auto* record = AttentionRecord::current()) record->add(queries, keys, how);
    const auto attended = attend(queries, keys, values, how);  // [B, H, N, d]
    return out(attended.transpose(1, 2).reshape({x.size(0), x.size(1), -1}));
  }

  AttentionOptions options;
  Linear q{nullptr}, k{nullptr}, v{nullptr}, out{nullptr};
  Norm q_norm{nullptr}, k_norm{nullptr};

 private:
  torch::Tensor attend(const torch::Tensor& queries, const torch::Tensor& keys,
                       const torch::Tensor& values, const AttentionScores& how) const {
    const auto dropout = is_training() ? options.dropout : 0.0;
    if (how.soft_cap == 0)
      return at::scaled_dot_product_attention(
          queries, keys, values, how.allowed.defined() ? std::optional(how.allowed) : std::nullopt,
          dropout, how.causal, how.scale != 0 ? std::optional(how.scale) : std::nullopt,
          options.num_kv_heads != options.num_heads);
    // No fused kernel caps its scores.
    auto weights = attention_weights(queries, keys, how);
    if (dropout > 0) weights = at::dropout(weights, dropout, true);
    const auto groups = options.num_heads / options.num_kv_heads;
    return weights.to(values.scalar_type()).matmul(values.repeat_interleave(groups, 1));
  }

  torch::Tensor attention_mask(const torch::Tensor& x, const torch::Tensor& mask, int64_t M) const {
    if (!mask.defined()) return mask;
    const auto B = x.size(0), N = x.size(1);
    TORCH_CHECK_VALUE(mask.scalar_type() == at::kBool, "Attention: mask must be bool, got ",
                      mask.scalar_type());
    const bool keys_only = mask.dim() == 2 && mask.size(0) == B && mask.size(1) == M;
    TORCH_CHECK_VALUE(keys_only || (mask.dim() == 4 && (mask.size(0) == B || mask.size(0) == 1) &&
                                    mask.size(2) == N && mask.size(3) == M),
                      "Attention: mask must be [B, M] or [B, 1|H, N, M] with B = ", B, ", N = ", N,
                      ", M = ", M, ", got ", mask.sizes());
    if (!keys_only) return mask;
    const auto allowed = mask.view({B, 1, 1, M}).expand({B, 1, N, M});
    if (!options.causal) return allowed;
    return allowed.logical_and(at::ones({N, M}, mask.options()).tril(M - N));
  }
};
WEFT_MODULE(Attention);

}  // namespace weft::nn
