#include <torch/torch.h>

#include <weft/fusion/resampler.hpp>

#include "support/gmock.hpp"
#include "support/gradcheck.hpp"
#include "support/tensors.hpp"

namespace resampler_test {

using namespace weft::test;
using weft::fusion::Resampler;
using weft::fusion::ResamplerOptions;

ResamplerOptions small() {
  return {.input_size = 5,
          .hidden_size = 6,
          .num_queries = 3,
          .depth = 2,
          .num_heads = 2,
          .head_dim = 4,
          .mlp_ratio = 1.5};
}
Resampler resampler(const ResamplerOptions& options = small()) {
  Resampler out(options);
  randomize(out);
  out->to(torch::kDouble);
  return out;
}
torch::Tensor connect(Resampler& m, const torch::Tensor& x, const torch::Tensor& mask = {}) {
  return m->connect({.visual = {.tokens = x, .mask = mask}}).tokens;
}
torch::Tensor randn(std::vector<int64_t> sizes) { return torch::randn(sizes, torch::kDouble); }

// Flamingo, figure 5, line by line, for one sample.
torch::Tensor perceiver(Resampler& m, const torch::Tensor& tokens /* [N, C] */) {
  const auto& o = m->options;
  const auto norm = [&](weft::nn::Norm& n, const torch::Tensor& x) {
    return torch::layer_norm(x, {o.hidden_size}, n->weight, n->bias, o.eps);
  };
  const auto x = torch::linear(tokens, m->in->weight, m->in->bias);
  auto latents = m->queries;
  for (auto& layer : m->layers) {
    auto& a = *layer->attention;
    const auto n = norm(layer->norm1, latents), c = norm(layer->context_norm, x);
    const auto both = o.see_queries ? torch::cat({c, n}) : c;
    std::vector<torch::Tensor> heads;
    for (int64_t h = 0; h < o.num_heads; ++h) {
      const auto of = [&](weft::nn::Linear& linear, const torch::Tensor& y) {
        return y.mm(linear->weight.narrow(0, h * o.head_dim, o.head_dim).t());
      };
      const auto scores = of(a.q, n).mm(of(a.k, both).t()) / std::sqrt(o.head_dim);
      heads.push_back(scores.softmax(1).mm(of(a.v, both)));
    }
    latents = latents + torch::cat(heads, 1).mm(a.out->weight.t());
    const auto inner = norm(layer->norm2, latents).mm(layer->mlp->fc1->weight.t());
    latents = latents + torch::gelu(inner).mm(layer->mlp->fc2->weight.t());
  }
  return norm(m->norm, latents);
}

TEST(Resampler, IsItsDefinition) {
  for (const bool see_queries : {true, false}) {
    auto options = small();
    options.see_queries = see_queries;
    auto m = resampler(options);
    const auto x = randn({2, 7, 5});
    const auto y = connect(m, x);
    ASSERT_EQ(y.sizes(), (std::vector<int64_t>{2, 3, 6}));
    for (int64_t b = 0; b < 2; ++b) EXPECT_LT(relative_error(y[b], perceiver(m, x[b])), 1e-12);
  }
}

TEST(Resampler, MaskedTokensAreAsIfTheyWereNotThere) {
  auto m = resampler();
  const auto x = randn({2, 7, 5});
  auto mask = torch::ones({2, 7}, torch::kBool);
  mask[0].slice(0, 4) = false;
  mask[1].slice(0, 0) = false;  // nothing but the queries themselves
  const auto y = connect(m, x, mask);
  EXPECT_LT(relative_error(y[0], perceiver(m, x[0].slice(0, 0, 4))), 1e-12);
  EXPECT_LT(relative_error(y[1], perceiver(m, x[1].slice(0, 0, 0))), 1e-12);
}

// The queries' reading is a set's: tokens may come in any order.
TEST(Resampler, OrderOfTokensDoesNotMatter) {
  auto m = resampler();
  const auto x = randn({1, 9, 5});
  EXPECT_LT(relative_error(connect(m, x.flip(1)), connect(m, x)), 1e-12);
}

TEST(Resampler, HasGradients) {
  auto options = small();
  options.depth = 1;
  options.bias = true;
  auto m = resampler(options);
  auto inputs = m->parameters();
  inputs.push_back(randn({2, 3, 5}).requires_grad_());
  auto mask = torch::ones({2, 3}, torch::kBool);
  mask[1][0] = false;
  EXPECT_TRUE(gradcheck([&](const auto& in) { return connect(m, in.back(), mask); }, inputs));
}

TEST(Resampler, TokensOfItsOwnWidthNeedNoLayerInFront) {
  auto options = small();
  options.input_size = 6;
  Resampler m(options);
  EXPECT_TRUE(m->in.is_empty());
  EXPECT_EQ(m->connect({.visual = {.tokens = torch::randn({1, 4, 6})}}).tokens.size(1), 3);
}

TEST(ResamplerErrors, NameTheRule) {
  auto m = resampler();
  EXPECT_THAT(
      [&] {
        connect(m, randn({2, 7, 4}));
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("tokens must be [B, N, 5], got [2, 7, 4]")));
  auto options = small();
  options.num_queries = 0;
  EXPECT_THAT([&] { Resampler{options}; },
              ThrowsMessage<c10::ValueError>(HasSubstr("must be positive, got 0 and 2")));
}

}  // namespace resampler_test
