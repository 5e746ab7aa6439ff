#include <torch/torch.h>

#include <weft/nn/attention_pool.hpp>

#include "support/gmock.hpp"
#include "support/gradcheck.hpp"

namespace attention_pool_test {

using namespace weft::test;

weft::nn::AttentionPool make() {
  torch::manual_seed(2);
  weft::nn::AttentionPool m(weft::nn::AttentionPoolOptions{
      .attention = {.hidden_size = 12, .num_heads = 3, .init_std = 0.3},
      .mlp = {.hidden_size = 12, .intermediate_size = 20, .init_std = 0.3},
      .eps = 1e-3,
      .init_std = 0.5});
  const torch::NoGradGuard no_grad;
  for (auto& p : m->parameters()) p.add_(torch::randn_like(p) * 0.1);
  m->to(torch::kDouble);
  return m;
}

TEST(AttentionPool, IsItsDefinition) {
  auto m = make();
  const auto x = torch::randn({2, 5, 12}, torch::kDouble);
  auto& a = *m->attention;
  std::vector<torch::Tensor> heads;
  for (int64_t h = 0; h < 3; ++h) {
    const auto part = [&](const torch::Tensor& y) { return y.narrow(-1, 4 * h, 4); };
    const auto score = part(a.q(m->query)).matmul(part(a.k(x)).transpose(1, 2)) / 2;  // [2, 1, 5]
    heads.push_back(score.softmax(-1).matmul(part(a.v(x))));
  }
  const auto y = a.out(torch::cat(heads, 2));  // [2, 1, 12]
  const auto expected = (y + m->mlp(m->norm(y))).select(1, 0);
  EXPECT_LT(relative_error(m(x), expected), 1e-12);
}

TEST(AttentionPool, DoesNotSeePaddingNorOrder) {
  auto m = make();
  const auto x = torch::randn({1, 4, 12}, torch::kDouble);
  const auto padded = torch::cat({x, torch::randn({1, 2, 12}, torch::kDouble)}, 1);
  const auto mask = torch::tensor({{1, 1, 1, 1, 0, 0}}).to(torch::kBool);
  EXPECT_LT(relative_error(m(padded, mask), m(x)), 1e-12);
  EXPECT_LT(relative_error(m(x.flip({1})), m(x)), 1e-12);
}

TEST(AttentionPool, Gradients) {
  auto m = make();
  const auto x = torch::randn({2, 3, 12}, torch::kDouble).requires_grad_(true);
  EXPECT_TRUE(gradcheck([&](const auto& inputs) { return m(inputs[0]); }, {x, m->query}));
}

TEST(AttentionPool, RefusesTwoWidths) {
  EXPECT_THAT(
      [] {
        weft::nn::AttentionPool m(
            weft::nn::AttentionPoolOptions{.attention = {.hidden_size = 12, .num_heads = 3},
                                           .mlp = {.hidden_size = 8, .intermediate_size = 20}});
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("one hidden_size, got 12 and 8")));
}

}  // namespace attention_pool_test
