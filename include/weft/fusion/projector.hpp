#pragma once

#include <string>
#include <vector>

#include <ATen/ops/avg_pool2d.h>

#include <weft/nn/activations.hpp>
#include <weft/nn/linear.hpp>
#include <weft/nn/norms.hpp>
#include <weft/nn/sockets.hpp>

namespace weft::fusion {

struct ProjectorOptions {
  int64_t input_size;   ///< width of the visual tokens
  int64_t hidden_size;  ///< D, width of the language model
  int64_t depth = 2;    ///< linear layers: 1 = linear, 2 = LLaVA-1.5's mlp2x_gelu
  nn::Activation activation = nn::Activation::gelu;  ///< between them
  bool bias = true;
  int64_t shuffle = 1;  ///< r: r x r neighbouring tokens become one, r^2 as wide (pixel shuffle)
  int64_t pool = 1;     ///< p: the mean of p x p neighbouring tokens becomes one
  bool norm = false;    ///< a LayerNorm in front of the first layer (InternVL)
  double eps = 1e-5;    ///< of that norm
  double init_std = 0.02;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("input_size", o.input_size, required);
    v("hidden_size", o.hidden_size, required);
    v("depth", o.depth);
    v("activation", o.activation);
    v("bias", o.bias);
    v("shuffle", o.shuffle);
    v("pool", o.pool);
    v("norm", o.norm);
    v("eps", o.eps);
    v("init_std", o.init_std);
  }
};

/// Visual tokens to language tokens, each by itself: a linear layer (Liu et al., 2023, LLaVA), an
/// MLP (Liu et al., 2023b, LLaVA-1.5, section 3.2), and either behind a pixel shuffle (Shi et al.,
/// 2016, turned round: fewer, wider tokens; InternVL 1.5, Idefics3) or a mean over neighbours.
///
///     Projector connector({.input_size = 1024, .hidden_size = 4096});
///
/// Parameters: norm.*, layers.<i>.{weight,bias}.
class WEFT_API ProjectorImpl : public Connector {
 public:
  explicit ProjectorImpl(const ProjectorOptions& o) : options(o) {
    TORCH_CHECK_VALUE(o.depth >= 1, "Projector: depth must be at least 1, got ", o.depth);
    TORCH_CHECK_VALUE(o.shuffle >= 1 && o.pool >= 1,
                      "Projector: shuffle and pool must be at least 1, got ", o.shuffle, " and ",
                      o.pool);
    const auto width = o.input_size * o.shuffle * o.shuffle;
    if (o.norm) norm = register_module("norm", nn::Norm({.size = width, .eps = o.eps}));
    for (int64_t i = 0; i < o.depth; ++i)
      layers.push_back(
          register_module("layers_" + std::to_string(i),
                          nn::Linear(nn::LinearOptions{i == 0 ? width : o.hidden_size,
                                                       o.hidden_size, o.bias, o.init_std})));
  }

  /// input.visual.tokens [B, N, input_size], without class and register tokens. Returns tokens
  /// [B, N / (pool shuffle)^2, hidden_size]. Pool and shuffle need a square grid of patches whose
  /// side they divide, or visual.grid [B, 3], equal in all rows.
  EncoderOutput connect(const ConnectorInput& input) override {
    auto x = input.visual.tokens;
    TORCH_CHECK_VALUE(x.dim() == 3 && x.size(2) == options.input_size,
                      "Projector: tokens must be [B, N, ", options.input_size, "], got ",
                      x.sizes());
    if (options.pool > 1 || options.shuffle > 1) x = shrink(x, input.visual.grid);
    if (norm) x = norm(x);
    for (size_t i = 0; i < layers.size(); ++i) {
      if (i > 0) x = nn::activate(x, options.activation);
      x = layers[i](x);
    }
    return {.tokens = x, .images = input.visual.images};
  }
  ConnectorInfo info() const override {
    return {.input_size = options.input_size, .hidden_size = options.hidden_size};
  }

  ProjectorOptions options;
  nn::Norm norm{nullptr};
  std::vector<nn::Linear> layers;

 private:
  Tensor shrink(Tensor x, const Tensor& grid) const {
    const auto B = x.size(0), N = x.size(1);
    int64_t H = 0, W = 0;
    if (grid.defined()) {
      H = grid[0][1].item<int64_t>();
      W = grid[0][2].item<int64_t>();
    } else {
      while (H * H < N) ++H;
      W = H;
    }
    const auto step = options.pool * options.shuffle;
    TORCH_CHECK_VALUE(H * W == N && H % step == 0 && W % step == 0, "Projector: ", N,
                      " tokens are no grid whose sides ", step, " divides");
    if (options.pool > 1) {
      const auto p = options.pool;
      x = at::avg_pool2d(x.transpose(1, 2).reshape({B, -1, H, W}), {p, p})
              .flatten(2)
              .transpose(1, 2);
      H /= p;
      W /= p;
    }
    if (options.shuffle == 1) return x;
    const auto r = options.shuffle, C = x.size(2);
    return x.reshape({B, H / r, r, W / r, r, C})
        .permute({0, 1, 3, 2, 4, 5})
        .reshape({B, H * W / (r * r), r * r * C});
  }
};
WEFT_MODULE(Projector);

}  // namespace weft::fusion
