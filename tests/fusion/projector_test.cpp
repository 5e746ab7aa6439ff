#include <torch/torch.h>

#include <weft/fusion/projector.hpp>

#include "support/gmock.hpp"
#include "support/gradcheck.hpp"
#include "support/tensors.hpp"

namespace projector_test {

using namespace weft::test;
using weft::fusion::Projector;

torch::Tensor connect(Projector& m, const torch::Tensor& x, const torch::Tensor& grid = {}) {
  return m->connect({.visual = {.tokens = x, .grid = grid}}).tokens;
}

TEST(Projector, IsTheMlpOfLlava) {
  Projector m({.input_size = 6, .hidden_size = 5});
  randomize(m);
  const auto x = torch::randn({2, 4, 6});
  const auto inner = torch::gelu(torch::linear(x, m->layers[0]->weight, m->layers[0]->bias));
  EXPECT_TRUE(
      close(connect(m, x), torch::linear(inner, m->layers[1]->weight, m->layers[1]->bias), 1e-6));
  Projector one({.input_size = 6, .hidden_size = 5, .depth = 1, .bias = false});
  EXPECT_TRUE(close(connect(one, x), torch::linear(x, one->layers[0]->weight), 1e-6));
}

// A token of the result holds its r x r neighbours, row by row.
TEST(Projector, ShufflesNeighboursIntoWidth) {
  Projector m({.input_size = 3, .hidden_size = 12, .depth = 1, .bias = false, .shuffle = 2});
  {
    const torch::NoGradGuard no_grad;
    m->layers[0]->weight.copy_(torch::eye(12));
  }
  const auto x = torch::randn({2, 24, 3});  // 4 x 6 patches
  const auto y = connect(m, x, torch::tensor({{1, 4, 6}, {1, 4, 6}}, torch::kLong));
  ASSERT_EQ(y.sizes(), (std::vector<int64_t>{2, 6, 12}));
  for (int64_t row = 0; row < 2; ++row)
    for (int64_t column = 0; column < 3; ++column)
      for (int64_t i = 0; i < 2; ++i)
        for (int64_t j = 0; j < 2; ++j)
          EXPECT_TRUE(torch::equal(
              y.select(1, row * 3 + column).slice(1, (2 * i + j) * 3, (2 * i + j + 1) * 3),
              x.select(1, (2 * row + i) * 6 + 2 * column + j)));
}

TEST(Projector, PoolsNeighbours) {
  Projector m({.input_size = 2, .hidden_size = 2, .depth = 1, .bias = false, .pool = 3});
  {
    const torch::NoGradGuard no_grad;
    m->layers[0]->weight.copy_(torch::eye(2));
  }
  const auto x = torch::randn({1, 36, 2});  // 6 x 6
  const auto y = connect(m, x);
  ASSERT_EQ(y.sizes(), (std::vector<int64_t>{1, 4, 2}));
  const auto grid = x.view({6, 6, 2});
  EXPECT_TRUE(
      close(y[0][1], grid.slice(0, 0, 3).slice(1, 3, 6).mean(std::vector<int64_t>{0, 1}), 1e-6));
}

TEST(Projector, HasGradients) {
  Projector m({.input_size = 2, .hidden_size = 3, .shuffle = 2, .pool = 1, .norm = true});
  randomize(m);
  auto inputs = fp64_parameters(*m);
  inputs.push_back(torch::randn({1, 4, 2}, torch::dtype(torch::kDouble).requires_grad(true)));
  EXPECT_TRUE(gradcheck([&](const auto& in) { return connect(m, in.back()); }, inputs));
}

TEST(ProjectorErrors, NameTheRule) {
  Projector m({.input_size = 4, .hidden_size = 5, .shuffle = 2});
  EXPECT_THAT(
      [&] {
        connect(m, torch::ones({1, 9, 4}));
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("9 tokens are no grid whose sides 2 divides")));
  EXPECT_THAT(
      [&] {
        connect(m, torch::ones({1, 4, 3}));
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("tokens must be [B, N, 4], got [1, 4, 3]")));
  EXPECT_THAT([] { Projector({.input_size = 4, .hidden_size = 5, .depth = 0}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("depth must be at least 1, got 0")));
}

}  // namespace projector_test
