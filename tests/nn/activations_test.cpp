#include <gmock/gmock.h>

#include <torch/torch.h>

#include <weft/nn/activations.hpp>

#include "support/gradcheck.hpp"

namespace activations_test {

using weft::nn::Activation;
using weft::test::relative_error;

TEST(Activation, GelusAreTheirDefinitions) {
  const auto x = torch::linspace(-4, 4, 33, torch::kDouble);
  const auto exact = x * 0.5 * (1 + (x / std::sqrt(2.0)).erf());
  EXPECT_LT(relative_error(activate(x, Activation::gelu), exact), 1e-14);
  const auto tanh = 0.5 * x * (1 + (std::sqrt(2 / M_PI) * (x + 0.044715 * x.pow(3))).tanh());
  EXPECT_LT(relative_error(activate(x, Activation::gelu_tanh), tanh), 1e-14);
  EXPECT_LT(relative_error(activate(x, Activation::quick_gelu), x * (1.702 * x).sigmoid()), 1e-14);
}

}  // namespace activations_test
