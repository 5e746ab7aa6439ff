#include <torch/torch.h>

#include <weft/nn/rotary.hpp>
#include <weft/ops/rope.hpp>

#include "support/gmock.hpp"
#include "support/tensors.hpp"

namespace rotary_test {

using namespace weft::test;
using weft::nn::Rotary;
using weft::nn::RotaryOptions;
using weft::nn::RotaryScaling;

at::Tensor positions_to(int64_t end) { return at::arange(end, at::kLong).unsqueeze(0); }

at::Tensor turned(const at::Tensor& x, const weft::nn::Rotation& rotation) {
  return weft::ops::rope(x, rotation.cos, rotation.sin);
}

// Su et al., section 3.2.2: pairs of dimensions are complex numbers that turn with the position.
TEST(Rotary, TurnsPairsOfDimensionsByThePosition) {
  constexpr int64_t R = 6, d = 8, T = 5;
  const Rotary rotary({.dim = R, .theta = 100});
  const auto x = torch::randn({2, 3, T, d});
  const auto y = turned(x, rotary(positions_to(T)));
  EXPECT_TRUE(torch::equal(y.slice(3, R), x.slice(3, R)));
  for (int64_t t = 0; t < T; ++t) {
    for (int64_t i = 0; i < R / 2; ++i) {
      const auto angle =
          static_cast<double>(t) * std::pow(100.0, -2.0 * static_cast<double>(i) / R);
      const auto a = x.select(2, t).select(2, i), b = x.select(2, t).select(2, i + R / 2);
      EXPECT_LT(
          max_difference(y.select(2, t).select(2, i), a * std::cos(angle) - b * std::sin(angle)),
          1e-6);
      EXPECT_LT(max_difference(y.select(2, t).select(2, i + R / 2),
                               b * std::cos(angle) + a * std::sin(angle)),
                1e-6);
    }
  }
}

TEST(Rotary, ScoresDependOnTheDistanceOnly) {
  const Rotary rotary({.dim = 8});
  const auto q = torch::randn({1, 1, 1, 8}), k = torch::randn({1, 1, 1, 8});
  const auto score = [&](int64_t m, int64_t n) {
    const auto at = [](int64_t p) { return torch::full({1, 1}, p, torch::kLong); };
    return (turned(q, rotary(at(m))) * turned(k, rotary(at(n)))).sum().item<double>();
  };
  EXPECT_NEAR(score(3, 1), score(12, 10), 1e-5);
  EXPECT_GT(std::abs(score(3, 1) - score(3, 2)), 1e-3);
}

TEST(Rotary, DynamicAndLongropeChangeBeyondTheirLength) {
  const Rotary dynamic(
      {.dim = 8, .scaling = RotaryScaling::dynamic, .factor = 2, .max_tokens = 16});
  EXPECT_TRUE(torch::equal(dynamic.frequencies(3), dynamic.frequencies(16)));
  EXPECT_FALSE(torch::equal(dynamic.frequencies(17), dynamic.frequencies(16)));
  const auto longrope = Rotary({.dim = 4,
                                .scaling = RotaryScaling::longrope,
                                .factor = 4,
                                .original_max_tokens = 10,
                                .short_factor = {1, 1},
                                .long_factor = {2, 3}});
  EXPECT_TRUE(torch::allclose(longrope.frequencies(10),
                              longrope.frequencies(11) * torch::tensor({2.0F, 3.0F})));
  EXPECT_NEAR(longrope.attention_factor(), std::sqrt(1 + std::log(4) / std::log(10)), 1e-12);
  EXPECT_TRUE(torch::equal(longrope(positions_to(10)).cos,
                           longrope(positions_to(11)).cos.slice(1, 0, 10)) == false);
}

TEST(RotaryErrors, NameTheRule) {
  EXPECT_THAT([] { Rotary(RotaryOptions{.dim = 5}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("dim must be even and positive, got 5")));
  EXPECT_THAT([] { Rotary(RotaryOptions{.dim = 4, .scaling = RotaryScaling::llama3}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("need original_max_tokens, got 0")));
  EXPECT_THAT(
      [] {
        Rotary(RotaryOptions{.dim = 8,
                             .scaling = RotaryScaling::longrope,
                             .original_max_tokens = 9,
                             .short_factor = {1}});
      },
      ThrowsMessage<c10::ValueError>(
          HasSubstr("needs 4 short and long factors, half of dim, got 1 and 0")));
}

}  // namespace rotary_test
