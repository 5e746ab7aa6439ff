#include <gmock/gmock.h>

#include <torch/torch.h>

#include <weft/nn/mlp.hpp>

#include "support/gradcheck.hpp"

namespace mlp_test {

using weft::nn::Activation;
using weft::test::relative_error;

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

}  // namespace mlp_test
