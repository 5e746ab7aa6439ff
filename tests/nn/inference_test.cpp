#include <gmock/gmock.h>

#include <torch/torch.h>

#include <weft/nn/autocast.hpp>
#include <weft/nn/inference.hpp>
#include <weft/nn/transformer_stack.hpp>

#include "support/gradcheck.hpp"

namespace inference_test {

using weft::nn::TransformerStack;
using weft::test::relative_error;

TransformerStack stack(const weft::nn::TransformerBlockOptions& block) {
  torch::manual_seed(2);
  TransformerStack out({.block = block, .num_layers = 3});
  const torch::NoGradGuard no_grad;
  for (auto& p : out->named_parameters())
    if (p.key().find("norm") != std::string::npos || p.key().find("bias") != std::string::npos)
      p.value().add_(torch::randn_like(p.value()) * 0.1);
  out->eval();
  return out;
}

weft::nn::TransformerBlockOptions small_block() {
  constexpr int64_t kWidth = 40;  // not a multiple of the vector length
  return {.attention = {.hidden_size = kWidth, .num_heads = 4, .init_std = 0.2},
          .mlp = {.hidden_size = kWidth, .intermediate_size = 56, .init_std = 0.2},
          .eps = 1e-5,
          .layer_scale = 0.7};
}

TransformerStack stack(bool post_norm, bool gated, bool causal, weft::nn::Activation activation) {
  auto block = small_block();
  block.attention.causal = causal;
  block.mlp.activation = activation;
  block.mlp.gated = gated;
  block.post_norm = post_norm;
  return stack(block);
}

TransformerStack::Impl::Output fast(TransformerStack& m, const torch::Tensor& x,
                                    const torch::Tensor& mask, torch::ScalarType type,
                                    const weft::EncodeOptions& options = {}) {
  const torch::NoGradGuard no_grad;
  const weft::nn::InferenceTypeGuard guard(type);
  const weft::nn::AutocastGuard autocast(torch::kCPU);
  return m->forward(x, mask, options);
}

struct Fast : testing::TestWithParam<torch::ScalarType> {
  double tolerance() const { return GetParam() == torch::kFloat ? 3e-6 : 3e-2; }
};

TEST_P(Fast, MatchesThePlainPath) {
  const torch::NoGradGuard no_grad;
  for (const auto activation : {weft::nn::Activation::gelu, weft::nn::Activation::gelu_tanh,
                                weft::nn::Activation::quick_gelu, weft::nn::Activation::silu}) {
    for (const bool post_norm : {false, true}) {
      auto m = stack(post_norm, activation == weft::nn::Activation::silu, post_norm, activation);
      const auto x = torch::randn({300, 7, 40});  // more rows than run together
      const auto before = x.clone();
      const weft::EncodeOptions layers{.hidden_layers = {-1, 0, 1}};
      const auto plain = m->forward(x, {}, layers);
      const auto quick = fast(m, x, {}, GetParam(), layers);
      EXPECT_EQ(quick.x.scalar_type(), torch::kFloat);
      EXPECT_LT(relative_error(quick.x, plain.x), tolerance());
      for (size_t i = 0; i < 3; ++i)
        EXPECT_LT(relative_error(quick.hidden[i], plain.hidden[i]), tolerance());
      EXPECT_TRUE(quick.hidden[1].equal(x));
      EXPECT_TRUE(x.equal(before));
      EXPECT_LT(relative_error(fast(m, x, {}, GetParam(), {.stop_after = 2}).x,
                               m->forward(x, {}, {.stop_after = 2}).x),
                tolerance());
    }
  }
}

// Whisper's queries and values have a bias and its keys have none; heads need not fill the width;
// grouped keys take the plain path.
TEST_P(Fast, MatchesThePlainPathForEveryLayoutOfAttention) {
  const torch::NoGradGuard no_grad;
  const auto x = torch::randn({5, 7, 40});
  const auto check = [&](const char* name, auto&& change) {
    auto block = small_block();
    change(block.attention);
    auto m = stack(block);
    EXPECT_LT(relative_error(fast(m, x, {}, GetParam()).x, m(x).x),
              block.attention.num_kv_heads != 0 ? 3e-2 : tolerance())
        << name;
  };
  using Options = weft::nn::AttentionOptions;
  check("no bias of k", [](Options& o) { o.k_bias = false; });
  check("bias of q only", [](Options& o) { o.k_bias = o.v_bias = false; });
  check("no bias", [](Options& o) { o.q_bias = o.k_bias = o.v_bias = o.out_bias = false; });
  check("narrow heads", [](Options& o) { o.head_dim = 6; });
  check("grouped keys", [](Options& o) { o.num_kv_heads = 2; });
}

TEST_P(Fast, RunsRealTokensOnly) {
  const torch::NoGradGuard no_grad;
  auto m = stack(true, false, false, weft::nn::Activation::gelu);
  auto x = torch::randn({6, 9, 40});
  const auto length = torch::tensor({9, 1, 4, 9, 4, 8});
  const auto mask = torch::arange(9).unsqueeze(0) < length.unsqueeze(1);
  const auto plain = m(x, mask).x;
  x.masked_fill_(mask.logical_not().unsqueeze(2), std::nan(""));
  const auto quick = fast(m, x, mask, GetParam()).x;
  EXPECT_LT(relative_error(quick.index({mask}), plain.index({mask})), tolerance());
  EXPECT_EQ(quick.index({mask.logical_not()}).abs().sum().item<float>(), 0);
  // Real tokens after padding take the plain path.
  const auto left = mask.flip(1);
  x = torch::randn({6, 9, 40});
  const auto a = m(x, left).x.index({left});
  const auto b = fast(m, x, left, GetParam()).x.index({left});
  EXPECT_LT(relative_error(b, a), 3e-2);
}

TEST_P(Fast, SeesChangedParameters) {
  auto m = stack(false, false, false, weft::nn::Activation::gelu);
  const torch::NoGradGuard no_grad;
  const auto x = torch::randn({2, 5, 40});
  fast(m, x, {}, GetParam());
  for (auto& p : m->parameters()) p.mul_(1.1);
  EXPECT_LT(relative_error(fast(m, x, {}, GetParam()).x, m(x).x), tolerance());
  for (auto& p : m->parameters()) p.set_data(p * 0.9);
  EXPECT_LT(relative_error(fast(m, x, {}, GetParam()).x, m(x).x), tolerance());
}

INSTANTIATE_TEST_SUITE_P(, Fast, testing::Values(torch::kFloat, torch::kBFloat16));

TEST(FastPath, HoldsOnlyWithoutGradientsUnderBf16) {
  const auto x = torch::randn({2, 2});
  EXPECT_FALSE(weft::nn::inference_applies(x, false));
  const weft::nn::AutocastGuard autocast(torch::kCPU);
  EXPECT_FALSE(weft::nn::inference_applies(x, false));
  const torch::NoGradGuard no_grad;
  EXPECT_EQ(weft::nn::inference_applies(x, false), at::hasMKLDNN());
  EXPECT_FALSE(weft::nn::inference_applies(x, true));
  const weft::nn::AutocastGuard off(torch::kCPU, torch::kBFloat16, false);
  EXPECT_FALSE(weft::nn::inference_applies(x, false));
}

}  // namespace inference_test
