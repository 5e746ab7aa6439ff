#include <cmath>

#include <gtest/gtest.h>

#include <torch/autograd.h>

#include <weft/losses/contrastive.hpp>

namespace contrastive_test {

TEST(ContrastiveLoss, TakesTheLogarithmOfTheScale) {
  torch::manual_seed(0);
  const auto image = at::randn({6, 8}), text = at::randn({6, 8});
  const auto tau = at::full({}, 1.5).requires_grad_(true);
  const auto loss = weft::losses::contrastive_loss(image, text, tau);
  const auto scale = at::full({}, std::exp(1.5)).requires_grad_(true);
  const auto plain = weft::ops::info_nce(image, text, scale);
  EXPECT_FLOAT_EQ(loss.item<float>(), plain.item<float>());
  EXPECT_NEAR(torch::autograd::grad({loss}, {tau})[0].item<float>(),
              torch::autograd::grad({plain}, {scale})[0].item<float>() * std::exp(1.5F), 1e-4);
}

TEST(ContrastiveLoss, TheScaleStaysBetweenOneAndAHundred) {
  const auto tau = at::full({}, 5.0).requires_grad_(true);
  weft::losses::clamp_logit_scale_(tau);
  EXPECT_FLOAT_EQ(tau.item<float>(), std::log(100.0F));
  EXPECT_TRUE(tau.is_leaf());
  tau.detach().fill_(-1);
  weft::losses::clamp_logit_scale_(tau);
  EXPECT_EQ(tau.item<float>(), 0);
  EXPECT_NEAR(std::exp(weft::losses::kInitialLogitScale), 1 / 0.07, 1e-12);
}

}  // namespace contrastive_test
