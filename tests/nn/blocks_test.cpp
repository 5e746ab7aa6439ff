#include <gmock/gmock.h>

#include <torch/torch.h>

#include <weft/nn/autocast.hpp>
#include <weft/nn/transformer_block.hpp>

#include "support/gradcheck.hpp"

namespace blocks_test {

using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::nn::Activation;
using weft::test::gradcheck;
using weft::test::relative_error;

// Every parameter gets numbers of its own, so that no term is hidden by a 0 or a 1.
template <class M>
void randomize(M& module) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(7);
  for (auto& p : module->parameters()) p.uniform_(-0.5, 0.9);
}

torch::Tensor layer_norm(const torch::Tensor& x, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps) {
  const auto mean = x.mean(-1, true);
  const auto var = (x - mean).square().mean(-1, true);
  return (x - mean) / (var + eps).sqrt() * weight + bias;
}

// softmax(q k^T / sqrt(d)) v, head by head.
torch::Tensor attention(weft::nn::AttentionImpl& m, const torch::Tensor& x,
                        const torch::Tensor& allowed /* [B, N, N] bool */) {
  const auto d = m.options.head_dim, groups = m.options.num_heads / m.options.num_kv_heads;
  const auto q = m.q(x), k = m.k(x), v = m.v(x);
  std::vector<torch::Tensor> heads;
  for (int64_t h = 0; h < m.options.num_heads; ++h) {
    auto qh = q.narrow(2, h * d, d), kh = k.narrow(2, h / groups * d, d);
    if (m.q_norm) {
      qh = m.q_norm(qh);
      kh = m.k_norm(kh);
    }
    auto score = qh.matmul(kh.transpose(1, 2)) / std::sqrt(static_cast<double>(d));
    score = score.masked_fill(allowed.logical_not(), -std::numeric_limits<double>::infinity());
    heads.push_back(score.softmax(-1).matmul(v.narrow(2, h / groups * d, d)));
  }
  return m.out(torch::cat(heads, 2));
}

TEST(Norm, LayerNormIsItsDefinition) {
  weft::nn::Norm norm({.size = 5, .eps = 0.1});
  randomize(norm);
  norm->to(torch::kDouble);
  const auto x = torch::randn({2, 3, 5}, torch::kDouble);
  EXPECT_LT(relative_error(norm(x), layer_norm(x, norm->weight, norm->bias, 0.1)), 1e-14);
}

TEST(Norm, RmsNormIsItsDefinition) {
  weft::nn::Norm norm({.size = 5, .eps = 0.1, .kind = weft::nn::NormKind::rms_norm});
  randomize(norm);
  norm->to(torch::kDouble);
  const auto x = torch::randn({3, 5}, torch::kDouble);
  const auto expected = x / (x.square().mean(-1, true) + 0.1).sqrt() * norm->weight;
  EXPECT_LT(relative_error(norm(x), expected), 1e-14);
  EXPECT_FALSE(norm->bias.defined());
}

TEST(Norm, StaysInFp32UnderBf16Autocast) {
  weft::nn::Norm norm({.size = 64});
  const auto x = (torch::randn({4, 64}) * 0.01 + 300).to(torch::kBFloat16);
  const weft::nn::AutocastGuard autocast(torch::kCPU);
  const auto y = norm(x);
  EXPECT_EQ(y.scalar_type(), torch::kFloat);
  EXPECT_TRUE(y.equal(norm(x.to(torch::kFloat))));
}

TEST(Norm, NamesTheWidth) {
  weft::nn::Norm norm({.size = 5});
  EXPECT_THAT(
      [&] {
        norm(torch::ones({2, 4}));
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("must be 5, got [2, 4]")));
}

TEST(Attention, IsItsDefinition) {
  struct Case {
    weft::nn::AttentionOptions options;
  };
  const Case cases[] = {
      {{.hidden_size = 12, .num_heads = 3}},
      {{.hidden_size = 12, .num_heads = 3, .q_bias = false, .k_bias = false, .out_bias = false}},
      {{.hidden_size = 12, .num_heads = 4, .num_kv_heads = 2, .head_dim = 5}},
      {{.hidden_size = 12, .num_heads = 3, .qk_norm = true}},
      {{.hidden_size = 12, .num_heads = 3, .causal = true}},
  };
  for (const auto& [options] : cases) {
    weft::nn::Attention m(options);
    randomize(m);
    m->to(torch::kDouble);
    const auto x = torch::randn({2, 7, 12}, torch::kDouble);
    auto allowed = torch::ones({2, 7, 7}, torch::kBool);
    if (options.causal) allowed = allowed.tril();
    EXPECT_LT(relative_error(m(x), attention(*m, x, allowed)), 1e-12);
    // A key mask hides tokens from every query.
    auto mask = torch::ones({2, 7}, torch::kBool);
    mask[1].slice(0, 4) = false;
    EXPECT_LT(relative_error(m(x, mask), attention(*m, x, allowed & mask.unsqueeze(1))), 1e-12);
    EXPECT_LT(relative_error(m(x, (allowed & mask.unsqueeze(1)).unsqueeze(1)),
                             attention(*m, x, allowed & mask.unsqueeze(1))),
              1e-12);
  }
}

TEST(Attention, OneTokenGivesItsValue) {
  weft::nn::Attention m({.hidden_size = 4, .num_heads = 2});
  const auto x = torch::randn({3, 1, 4});
  EXPECT_TRUE(torch::allclose(m(x), m->out(m->v(x))));
}

TEST(Attention, Errors) {
  EXPECT_THAT([] { weft::nn::Attention({.hidden_size = 10, .num_heads = 4}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("hidden_size (10) must be a multiple of")));
  EXPECT_THAT([] { weft::nn::Attention({.hidden_size = 8, .num_heads = 4, .num_kv_heads = 3}); },
              ThrowsMessage<c10::ValueError>(
                  HasSubstr("num_heads (4) must be a multiple of num_kv_heads")));
  weft::nn::Attention m({.hidden_size = 8, .num_heads = 2});
  EXPECT_THAT(
      [&] {
        m(torch::ones({2, 8}));
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("x must be [B, N, 8], got [2, 8]")));
  EXPECT_THAT(
      [&] {
        m(torch::ones({2, 3, 8}), torch::ones({2, 4}, torch::kBool));
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("got [2, 4]")));
  EXPECT_THAT(
      [&] {
        m(torch::ones({2, 3, 8}), torch::ones({2, 3}));
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("mask must be bool")));
}

TEST(Mlp, IsItsDefinition) {
  const auto x = torch::randn({2, 3, 6}, torch::kDouble);
  weft::nn::Mlp plain({.hidden_size = 6, .intermediate_size = 9, .activation = Activation::relu});
  plain->to(torch::kDouble);
  EXPECT_LT(relative_error(plain(x), plain->fc2(plain->fc1(x).clamp_min(0))), 1e-14);
  weft::nn::Mlp gated(
      {.hidden_size = 6, .intermediate_size = 9, .activation = Activation::silu, .gated = true});
  gated->to(torch::kDouble);
  const auto g = gated->gate(x);
  EXPECT_LT(relative_error(gated(x), gated->fc2(g * g.sigmoid() * gated->fc1(x))), 1e-14);
}

TEST(Activation, GelusAreTheirDefinitions) {
  const auto x = torch::linspace(-4, 4, 33, torch::kDouble);
  const auto exact = x * 0.5 * (1 + (x / std::sqrt(2.0)).erf());
  EXPECT_LT(relative_error(activate(x, Activation::gelu), exact), 1e-14);
  const auto tanh = 0.5 * x * (1 + (std::sqrt(2 / M_PI) * (x + 0.044715 * x.pow(3))).tanh());
  EXPECT_LT(relative_error(activate(x, Activation::gelu_tanh), tanh), 1e-14);
  EXPECT_LT(relative_error(activate(x, Activation::quick_gelu), x * (1.702 * x).sigmoid()), 1e-14);
}

weft::nn::TransformerBlockOptions small_block() {
  return {.hidden_size = 6, .num_heads = 2, .intermediate_size = 7};
}

TEST(TransformerBlock, PreNormIsItsDefinition) {
  auto o = small_block();
  o.layer_scale = 0.3;
  weft::nn::TransformerBlock m(o);
  randomize(m);
  m->to(torch::kDouble);
  const auto x = torch::randn({2, 4, 6}, torch::kDouble);
  const auto y = x + m->scale1 * m->attention(m->norm1(x));
  EXPECT_LT(relative_error(m(x), y + m->scale2 * m->mlp(m->norm2(y))), 1e-14);
}

TEST(TransformerBlock, PostNormIsItsDefinition) {
  auto o = small_block();
  o.post_norm = true;
  weft::nn::TransformerBlock m(o);
  randomize(m);
  m->to(torch::kDouble);
  const auto x = torch::randn({2, 4, 6}, torch::kDouble);
  const auto y = m->norm1(x + m->attention(x));
  EXPECT_LT(relative_error(m(x), m->norm2(y + m->mlp(y))), 1e-14);
}

TEST(TransformerBlock, LayerScaleOfZeroIsTheIdentity) {
  auto o = small_block();
  o.layer_scale = 1e-3;
  weft::nn::TransformerBlock m(o);
  const torch::NoGradGuard no_grad;
  m->scale1.zero_();
  m->scale2.zero_();
  const auto x = torch::randn({2, 4, 6});
  EXPECT_TRUE(m(x).equal(x));
}

TEST(TransformerBlock, GradientsMatchFiniteDifferences) {
  for (const bool post_norm : {false, true}) {
    auto o = small_block();
    o.post_norm = post_norm;
    o.layer_scale = 0.5;
    o.gated = post_norm;
    weft::nn::TransformerBlock m(o);
    randomize(m);
    auto inputs = weft::test::fp64_parameters(*m);
    inputs.push_back(torch::randn({2, 3, 6}, torch::kDouble).requires_grad_());
    auto mask = torch::ones({2, 3}, torch::kBool);
    mask[1][2] = false;
    EXPECT_TRUE(gradcheck([&](const auto& in) { return m(in.back(), mask); }, inputs));
  }
}

TEST(TransformerBlock, DropPathKeepsTheMeanAndDropsWholeSamples) {
  auto o = small_block();
  o.drop_path = 0.25;
  weft::nn::TransformerBlock m(o);
  randomize(m);
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  const auto x = torch::randn({1, 3, 6}).repeat({4000, 1, 1});
  const auto change = (m(x) - x).abs().sum({1, 2});
  const auto untouched = (change == 0).to(torch::kDouble).mean().item<double>();
  EXPECT_NEAR(untouched, 0.25 * 0.25, 0.02);  // both branches dropped
  m->eval();
  EXPECT_TRUE((m(x) - x).abs().sum({1, 2}).gt(0).all().item<bool>());
}

}  // namespace blocks_test
