#include <torch/torch.h>

#include <weft/nn/transformer_block.hpp>

#include "support/gmock.hpp"
#include "support/gradcheck.hpp"

namespace transformer_block_test {

using namespace weft::test;

weft::nn::TransformerBlockOptions small_block() {
  return {.attention = {.hidden_size = 6, .num_heads = 2},
          .mlp = {.hidden_size = 6, .intermediate_size = 7}};
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
    o.mlp.gated = post_norm;
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

TEST(TransformerBlock, NamesBothWidths) {
  EXPECT_THAT(
      [] {
        weft::nn::TransformerBlock({.attention = {.hidden_size = 6, .num_heads = 2},
                                    .mlp = {.hidden_size = 8, .intermediate_size = 7}});
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("one hidden_size, got 6 and 8")));
}

}  // namespace transformer_block_test
