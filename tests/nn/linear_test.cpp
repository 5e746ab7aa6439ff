#include <torch/torch.h>

#include <weft/nn/linear.hpp>

#include "support/gmock.hpp"
#include "support/gradcheck.hpp"

namespace linear_test {

using namespace weft::test;

TEST(Linear, IsItsDefinition) {
  for (const bool bias : {false, true}) {
    weft::nn::Linear m(weft::nn::LinearOptions{5, 3, bias});
    randomize(m);
    m->to(torch::kDouble);
    const auto x = torch::randn({2, 4, 5}, torch::kDouble);
    auto expected = torch::einsum("bni,oi->bno", {x, m->weight});
    if (bias) expected = expected + m->bias;
    EXPECT_LT(relative_error(m(x), expected), 1e-14);
    EXPECT_EQ(m->bias.defined(), bias);
  }
}

TEST(Linear, StartsAsViTAndBert) {
  torch::manual_seed(1);
  weft::nn::Linear m(weft::nn::LinearOptions{300, 200, true, 0.05});
  EXPECT_NEAR(m->weight.std().item<double>(), 0.05, 1e-3);
  EXPECT_EQ(m->bias.abs().sum().item<float>(), 0);
}

TEST(Linear, NamesBothWidths) {
  EXPECT_THAT(
      [] {
        weft::nn::Linear(weft::nn::LinearOptions{5, 0});
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("must be positive, got 5 and 0")));
}

}  // namespace linear_test
