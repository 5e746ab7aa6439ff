#include <torch/torch.h>

#include <weft/nn/autocast.hpp>
#include <weft/nn/norms.hpp>

#include "support/gmock.hpp"
#include "support/gradcheck.hpp"

namespace norms_test {

using namespace weft::test;

torch::Tensor layer_norm(const torch::Tensor& x, const torch::Tensor& weight,
                         const torch::Tensor& bias, double eps) {
  const auto mean = x.mean(-1, true);
  const auto var = (x - mean).square().mean(-1, true);
  return (x - mean) / (var + eps).sqrt() * weight + bias;
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

}  // namespace norms_test
