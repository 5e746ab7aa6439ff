#include <gmock/gmock.h>

#include <torch/torch.h>

#include <weft/nn/checkpointing.hpp>
#include <weft/nn/lora.hpp>
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

// With the op, and without it: activations that it lacks, and an adapter on fc2.
TEST(Mlp, GatedIsItsDefinitionWithGradientsForEveryActivation) {
  for (const auto activation : {Activation::gelu, Activation::gelu_tanh, Activation::quick_gelu,
                                Activation::relu, Activation::silu, Activation::tanh}) {
    for (const bool adapted : {false, true}) {
      SCOPED_TRACE(testing::Message() << static_cast<int>(activation) << ' ' << adapted);
      weft::nn::Mlp mlp({.hidden_size = 6,
                         .intermediate_size = 9,
                         .activation = activation,
                         .gated = true,
                         .bias = adapted});
      if (adapted) mlp->fc2->set_lora(weft::nn::make_lora(*mlp->fc2, 2, 4));
      weft::test::randomize(mlp);
      mlp->to(torch::kDouble);
      const auto x = torch::randn({2, 3, 6}, torch::kDouble).requires_grad_(true);
      const auto inside = activate(mlp->gate(x), activation) * mlp->fc1(x);
      const auto expected = mlp->fc2(inside);
      const auto out = mlp(x);
      EXPECT_LT(relative_error(out, expected), 1e-13);
      auto leaves = mlp->parameters();
      leaves.push_back(x);
      const auto got = torch::autograd::grad({out.square().sum()}, leaves);
      const auto wanted = torch::autograd::grad({expected.square().sum()}, leaves);
      for (size_t i = 0; i < leaves.size(); ++i)
        EXPECT_LT(relative_error(got[i], wanted[i]), 1e-12);
    }
  }
}

TEST(Mlp, GatedIsTheSameUnderCheckpointing) {
  weft::nn::Mlp mlp(
      {.hidden_size = 16, .intermediate_size = 40, .activation = Activation::silu, .gated = true});
  weft::test::randomize(mlp);
  const auto x = torch::randn({5, 7, 16}).requires_grad_(true);
  auto leaves = mlp->parameters();
  leaves.push_back(x);
  const auto plain = mlp(x);
  const auto again =
      weft::nn::checkpoint([&](const torch::Tensor& y) { return mlp(y); }, x, mlp->parameters());
  EXPECT_TRUE(torch::equal(again, plain));
  const auto wanted = torch::autograd::grad({plain.square().sum()}, leaves);
  const auto got = torch::autograd::grad({again.square().sum()}, leaves);
  for (size_t i = 0; i < leaves.size(); ++i) EXPECT_TRUE(torch::equal(got[i], wanted[i]));
}

}  // namespace mlp_test
