#pragma once

#include <string>
#include <vector>

#include <ATen/ops/cat.h>

#include <weft/nn/attention.hpp>
#include <weft/nn/mlp.hpp>
#include <weft/nn/sockets.hpp>

namespace weft::fusion {

struct ResamplerOptions {
  int64_t input_size;        ///< width of the visual tokens
  int64_t hidden_size;       ///< D, width of the queries and of the language model
  int64_t num_queries = 64;  ///< Q
  int64_t depth = 6;
  int64_t num_heads = 8;
  int64_t head_dim = 64;
  double mlp_ratio = 4.0;
  bool bias = false;        ///< in attention and MLPs
  bool see_queries = true;  ///< queries attend to each other too, not to the tokens alone
  double eps = 1e-5;
  double init_std = 0.02;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("input_size", o.input_size, required);
    v("hidden_size", o.hidden_size, required);
    v("num_queries", o.num_queries);
    v("depth", o.depth);
    v("num_heads", o.num_heads);
    v("head_dim", o.head_dim);
    v("mlp_ratio", o.mlp_ratio);
    v("bias", o.bias);
    v("see_queries", o.see_queries);
    v("eps", o.eps);
    v("init_std", o.init_std);
  }
};

/// One layer of a Resampler: with c = context_norm(x) and n = norm1(q),
///   q <- q + Attention(n, [c; n]);  q <- q + Mlp(norm2(q)).
class WEFT_API ResamplerLayerImpl : public torch::nn::Module {
 public:
  explicit ResamplerLayerImpl(const ResamplerOptions& o) : options(o) {
    const auto D = o.hidden_size;
    const nn::NormOptions norm{.size = D, .eps = o.eps};
    context_norm = register_module("context_norm", nn::Norm(norm));
    norm1 = register_module("norm1", nn::Norm(norm));
    attention = register_module("attention", nn::Attention({.hidden_size = D,
                                                            .num_heads = o.num_heads,
                                                            .head_dim = o.head_dim,
                                                            .q_bias = o.bias,
                                                            .k_bias = o.bias,
                                                            .v_bias = o.bias,
                                                            .out_bias = o.bias,
                                                            .init_std = o.init_std}));
    norm2 = register_module("norm2", nn::Norm(norm));
    const auto inner = static_cast<int64_t>(static_cast<double>(D) * o.mlp_ratio);
    mlp = register_module("mlp", nn::Mlp({.hidden_size = D,
                                          .intermediate_size = inner,
                                          .bias = o.bias,
                                          .init_std = o.init_std}));
  }

  /// q [B, Q, D], x [B, N, D]; mask [B, M] bool of what is attended to, M = N + Q where the queries
  /// see each other, else N. Returns [B, Q, D].
  Tensor forward(const Tensor& q, const Tensor& x, const Tensor& mask = {}) {
    const auto n = norm1(q);
    auto context = context_norm(x);
    if (options.see_queries) context = at::cat({context, n}, 1);
    const auto y = q + attention(n, mask, context);
    return y + mlp(norm2(y));
  }

  ResamplerOptions options;
  nn::Norm context_norm{nullptr}, norm1{nullptr}, norm2{nullptr};
  nn::Attention attention{nullptr};
  nn::Mlp mlp{nullptr};
};
TORCH_MODULE(ResamplerLayer);

/// The Perceiver resampler (Alayrac et al., 2022, Flamingo, section 3.1.1): any number of visual
/// tokens becomes Q, which learned queries read from them.
///
///     Resampler connector({.input_size = 1024, .hidden_size = 2048});
///
/// Differs from it: tokens of another width pass through a linear layer first, and there are no
/// embeddings of time.
/// Parameters: queries, in.* where the widths differ, layers_<i>.*, norm.*.
class WEFT_API ResamplerImpl : public Connector {
 public:
  explicit ResamplerImpl(const ResamplerOptions& o) : options(o) {
    TORCH_CHECK_VALUE(o.num_queries > 0 && o.depth > 0,
                      "Resampler: num_queries and depth must be positive, got ", o.num_queries,
                      " and ", o.depth);
    queries = register_parameter(
        "queries", nn::init_normal(at::empty({o.num_queries, o.hidden_size}), o.init_std));
    if (o.input_size != o.hidden_size)
      in = register_module(
          "in", nn::Linear(nn::LinearOptions{o.input_size, o.hidden_size, true, o.init_std}));
    for (int64_t i = 0; i < o.depth; ++i)
      layers.push_back(register_module("layers_" + std::to_string(i), ResamplerLayer(o)));
    norm = register_module("norm", nn::Norm({.size = o.hidden_size, .eps = o.eps}));
  }

  /// input.visual.tokens [B, N, input_size], its mask [B, N] bool, true = real; a row of which none
  /// is real needs see_queries. Returns tokens [B, Q, hidden_size].
  EncoderOutput connect(const ConnectorInput& input) override {
    auto x = input.visual.tokens;
    TORCH_CHECK_VALUE(x.dim() == 3 && x.size(2) == options.input_size,
                      "Resampler: tokens must be [B, N, ", options.input_size, "], got ",
                      x.sizes());
    auto mask = input.visual.mask;
    if (mask.defined() && options.see_queries)
      mask = at::cat({mask, mask.new_ones({x.size(0), options.num_queries})}, 1);
    if (in) x = in(x);
    auto q = queries.to(x.scalar_type()).expand({x.size(0), -1, -1});
    for (auto& layer : layers) q = layer(q, x, mask);
    return {.tokens = norm(q), .images = input.visual.images};
  }
  ConnectorInfo info() const override {
    return {.input_size = options.input_size, .hidden_size = options.hidden_size};
  }

  ResamplerOptions options;
  Tensor queries;          // [Q, D]
  nn::Linear in{nullptr};  // empty where the widths are equal
  std::vector<ResamplerLayer> layers;
  nn::Norm norm{nullptr};
};
WEFT_MODULE(Resampler);

}  // namespace weft::fusion
