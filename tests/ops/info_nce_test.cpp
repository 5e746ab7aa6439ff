#include <cmath>
#include <limits>

#include <gmock/gmock.h>

#include <ATen/OpMathType.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/autograd.h>

#include <weft/nn/autocast.hpp>
#include <weft/ops/info_nce.hpp>

#include "support/devices.hpp"

namespace info_nce_test {

using at::Tensor;
using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::ops::info_nce;

// CLIP, figure 3, line by line.
static Tensor definition(const Tensor& image, const Tensor& text, const Tensor& scale) {
  const auto logits = scale * image.mm(text.t());
  const auto labels = at::arange(image.size(0), logits.options().dtype(at::kLong));
  return (at::cross_entropy_loss(logits, labels) + at::cross_entropy_loss(logits.t(), labels)) / 2;
}

static Tensor unit_rows(int64_t n, int64_t d) {
  const auto x = at::randn({n, d}, at::kDouble);
  return x / x.norm(2, {1}, true);
}

// The same mean of log(1 + sum over the negatives), in which a loss near 0 keeps its digits.
static Tensor definition_by_negatives(const Tensor& image, const Tensor& text,
                                      const Tensor& scale) {
  const auto logits = scale * image.mm(text.t());
  const auto self = at::eye(image.size(0), at::kBool);
  const auto positive = logits.diagonal();
  const auto odds = [&](const Tensor& relative) { return relative.exp().masked_fill(self, 0); };
  return (odds(logits - positive.unsqueeze(1)).sum(1).log1p() +
          odds(logits - positive).sum(0).log1p())
             .mean() /
         2;
}

struct Inputs {
  Tensor image, text, scale;
  // Fresh leaves of another dtype.
  Inputs to(at::ScalarType dtype) const {
    const auto leaf = [&](const Tensor& x) {
      return x.detach().to(dtype, false, /*copy=*/true).requires_grad_(true);
    };
    return {leaf(image), leaf(text), leaf(scale)};
  }
  Inputs on(at::Device device) const {
    return {image.to(device), text.to(device), scale.to(device)};
  }
  std::vector<Tensor> gradients(const Tensor& loss) const {
    return torch::autograd::grad({loss}, {image, text, scale});
  }
};

// Pairs that agree more or less, so that the loss is neither trivial nor hopeless.
static Inputs pairs(int64_t n, double scale, double noise = 0.5, int64_t d = 24) {
  const auto image = unit_rows(n, d);
  const auto text = image + noise * unit_rows(n, d);
  return {image, text / text.norm(2, {1}, true), at::scalar_tensor(scale, at::kDouble)};
}

static void expect_close(const Tensor& ours, const Tensor& theirs, double tolerance,
                         double floor = 0) {
  ASSERT_EQ(ours.sizes(), theirs.sizes());
  const auto bound = tolerance * theirs.abs().max().item<double>() + floor;
  EXPECT_LE((ours.to(at::kDouble) - theirs).abs().max().item<double>(), bound);
}

static void expect_definition(const Inputs& exact, at::ScalarType dtype, double forward,
                              double backward, decltype(&definition) defined = definition) {
  const auto a = exact.to(dtype), b = exact.to(at::kDouble);
  const auto ours = info_nce(a.image, a.text, a.scale);
  const auto theirs = defined(b.image, b.text, b.scale);
  EXPECT_EQ(ours.scalar_type(), at::toOpMathType(dtype));
  // cross_entropy_loss itself loses what lies below fp64's epsilon times the logits.
  const double floor = defined == definition ? 1e-15 * exact.scale.item<double>() : 0;
  expect_close(ours, theirs, forward, floor);
  const auto got = a.gradients(ours), expected = b.gradients(theirs);
  for (size_t i = 0; i < 3; ++i) {
    SCOPED_TRACE(i);
    EXPECT_EQ(got[i].scalar_type(), dtype);
    expect_close(got[i], expected[i], backward, floor);
  }
}

class InfoNce : public testing::TestWithParam<at::Device> {};
INSTANTIATE_TEST_SUITE_P(, InfoNce, testing::ValuesIn(weft::test::devices()),
                         weft::test::device_name);

TEST_P(InfoNce, IsTheDefinitionForwardAndBackward) {
  torch::manual_seed(7);
  // One row, an odd count, either side of the 256-row tile, and more than two tiles.
  for (const int64_t rows : {1, 2, 7, 255, 256, 257, 600}) {
    for (const double scale : {0.01, 10.0, 100.0}) {
      SCOPED_TRACE(rows);
      SCOPED_TRACE(scale);
      const auto inputs = pairs(rows, scale, scale > 50 ? 2.0 : 0.5).on(GetParam());
      expect_definition(inputs, at::kDouble, 1e-12, 1e-10);
      expect_definition(inputs, at::kFloat, 1e-5, 1e-4);
    }
  }
}

TEST(InfoNceOp, GradientsAreFiniteDifferencesOfTheLoss) {
  torch::manual_seed(1);
  const auto x = pairs(5, 3.0).to(at::kDouble);
  const auto gradients = x.gradients(info_nce(x.image, x.text, x.scale) * 2);
  const Tensor inputs[] = {x.image, x.text, x.scale};
  const double h = 1e-6;
  const torch::NoGradGuard no_grad;
  for (size_t k = 0; k < 3; ++k) {
    const auto flat = inputs[k].view({-1});
    const auto gradient = gradients[k].reshape({-1});
    for (int64_t i = 0; i < flat.numel(); i += 7) {
      const auto loss = [&](double step) {
        flat[i].add_(step);
        const auto value = info_nce(x.image, x.text, x.scale).item<double>() * 2;
        flat[i].sub_(step);
        return value;
      };
      EXPECT_NEAR((loss(h) - loss(-h)) / (2 * h), gradient[i].item<double>(), 1e-8);
    }
  }
}

// Late in training almost all weight lies on the positives: a softmax minus 1 has no digits left in
// fp32, and the loss neither.
TEST(InfoNceOp, KeepsItsDigitsWhereTheLossIsNearZero) {
  torch::manual_seed(3);
  const auto x = pairs(300, 60.0, 0.05, 128);
  EXPECT_LT(definition(x.image, x.text, x.scale).item<double>(), 1e-8);
  expect_definition(x, at::kFloat, 1e-4, 1e-4, definition_by_negatives);
  expect_definition(x, at::kDouble, 1e-12, 1e-12, definition_by_negatives);
}

// 257 copies of one row: every probability is 1/N, and the pull cancels the push.
TEST(InfoNceOp, IdenticalRowsGiveLogNAndNoGradient) {
  const auto row = unit_rows(1, 16).expand({257, 16});
  const Inputs x = Inputs{row, row, at::scalar_tensor(20.0, at::kDouble)}.to(at::kDouble);
  const auto loss = info_nce(x.image, x.text, x.scale);
  EXPECT_NEAR(loss.item<double>(), std::log(257), 1e-12);
  for (const auto& g : x.gradients(loss)) EXPECT_LT(g.abs().max().item<double>(), 1e-13);
}

TEST(InfoNceOp, TakesStridedInputs) {
  torch::manual_seed(2);
  const auto x = pairs(9, 5.0);
  const auto image = x.image.t().contiguous().t();                // strides {1, 9}
  const auto text = at::stack({x.text, x.text}, 2).select(2, 1);  // strides {48, 2}
  EXPECT_FALSE(image.is_contiguous());
  EXPECT_FALSE(text.is_contiguous());
  const auto a = image.detach().requires_grad_(true), b = text.detach().requires_grad_(true);
  const auto gradients = torch::autograd::grad({info_nce(a, b, x.scale)}, {a, b});
  const auto plain = x.to(at::kDouble);
  const auto expected = plain.gradients(definition(plain.image, plain.text, plain.scale));
  expect_close(gradients[0], expected[0], 1e-12);
  expect_close(gradients[1], expected[1], 1e-12);
}

TEST(InfoNceOp, NanPropagates) {
  auto x = pairs(300, 5.0).to(at::kFloat);
  {
    const torch::NoGradGuard no_grad;
    x.text[280][3] = std::numeric_limits<float>::quiet_NaN();
  }
  const auto loss = info_nce(x.image, x.text, x.scale);
  EXPECT_TRUE(std::isnan(loss.item<float>()));
  EXPECT_TRUE(x.gradients(loss)[2].isnan().item<bool>());
}

TEST_P(InfoNce, Bf16IsComputedInFp32) {
  torch::manual_seed(5);
  const auto rounded = pairs(64, 20.0).on(GetParam()).to(at::kBFloat16);
  const Inputs exact{rounded.image.to(at::kDouble), rounded.text.to(at::kDouble),
                     rounded.scale.to(at::kDouble)};
  expect_definition(exact, at::kBFloat16, 1e-5, 5e-3);  // the gradients are rounded to bf16
}

TEST_P(InfoNce, AutocastKeepsFp32) {
  torch::manual_seed(5);
  const auto x = pairs(300, 50.0).on(GetParam()).to(at::kFloat);
  const auto plain = info_nce(x.image, x.text, x.scale);
  const auto expected = x.gradients(plain);
  Tensor cast, mixed;
  std::vector<Tensor> gradients;
  {
    const weft::nn::AutocastGuard autocast(GetParam().type(), at::kBFloat16);
    cast = info_nce(x.image, x.text, x.scale);
    gradients = x.gradients(cast);  // backward inside the region, too
    mixed = info_nce(x.image.to(at::kBFloat16), x.text, x.scale);
  }
  EXPECT_EQ(cast.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(cast, plain));
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(at::equal(gradients[i], expected[i]));
  EXPECT_EQ(mixed.scalar_type(), at::kFloat);
  EXPECT_NEAR(mixed.item<float>(), plain.item<float>(), 0.05);
}

TEST(InfoNceOp, MetaGivesShapesAndGradients) {
  const auto options = at::TensorOptions().device(at::kMeta);
  const auto image = at::empty({6, 4}, options).requires_grad_(true);
  const auto loss = info_nce(image, at::empty({6, 4}, options), at::empty({}, options));
  EXPECT_TRUE(loss.is_meta());
  EXPECT_EQ(loss.dim(), 0);
  EXPECT_EQ(torch::autograd::grad({loss}, {image})[0].sizes(), image.sizes());
}

// A backend without kernels of its own runs the composite reference.
TEST(InfoNceOp, TheFallbackOfOtherBackendsIsTheDefinition) {
  torch::manual_seed(4);
  using Tensors4 = std::tuple<Tensor, Tensor, Tensor, Tensor>;
  using Tensors3 = std::tuple<Tensor, Tensor, Tensor>;
  auto& dispatcher = c10::Dispatcher::singleton();
  const auto forward = dispatcher.findSchemaOrThrow("weft::_info_nce", "")
                           .typed<Tensors4(const Tensor&, const Tensor&, const Tensor&)>();
  const auto backward =
      dispatcher.findSchemaOrThrow("weft::_info_nce_backward", "")
          .typed<Tensors3(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                          const Tensor&, const Tensor&)>();
  const c10::DispatchKeySet other(c10::DispatchKey::PrivateUse1);
  const auto x = pairs(7, 12.0).to(at::kDouble);
  const auto theirs = definition(x.image, x.text, x.scale);
  const auto expected = x.gradients(theirs);
  const torch::NoGradGuard no_grad;
  const auto [loss, positive, image_nll, text_nll] =
      forward.redispatch(other, x.image, x.text, x.scale);
  const auto [image, text, scale] = backward.redispatch(
      other, at::ones({}, at::kDouble), x.image, x.text, x.scale, positive, image_nll, text_nll);
  expect_close(loss, theirs, 1e-12);
  expect_close(image, expected[0], 1e-11);
  expect_close(text, expected[1], 1e-11);
  expect_close(scale, expected[2], 1e-11);
}

TEST(InfoNceOp, RefusesSecondDerivatives) {
  const auto x = pairs(4, 2.0).to(at::kDouble);
  const auto first = torch::autograd::grad({info_nce(x.image, x.text, x.scale)}, {x.image}, {},
                                           std::nullopt, /*create_graph=*/true);
  EXPECT_THAT([&] { first[0].sum().backward(); },
              ThrowsMessage<c10::Error>(HasSubstr("_info_nce_backward is not implemented")));
}

TEST(InfoNceErrors, NameRuleAndValues) {
  const auto one = at::ones({});
  const auto refuse = [](const Tensor& image, const Tensor& text, const Tensor& scale) {
    return [=] { info_nce(image, text, scale); };
  };
  const auto says = [](const char* text) {
    return ThrowsMessage<c10::ValueError>(HasSubstr(text));
  };
  EXPECT_THAT(refuse(at::ones({4, 8}), at::ones({5, 8}), one),
              says("info_nce: image and text must both be [N, D], got [4, 8] and [5, 8]"));
  EXPECT_THAT(refuse(at::ones({4}), at::ones({4}), one), says("got [4] and [4]"));
  EXPECT_THAT(refuse(at::ones({0, 8}), at::ones({0, 8}), one),
              says("info_nce: at least one pair is needed, got [0, 8]"));
  EXPECT_THAT(refuse(at::ones({4, 8}), at::ones({4, 8}), at::ones({1})),
              says("info_nce: scale must be [], got [1]"));
  EXPECT_THAT(refuse(at::ones({4, 8}), at::ones({4, 8}, at::kDouble), one),
              says("info_nce: image and text must have one dtype, got Float and Double"));
  EXPECT_THAT(refuse(at::ones({4, 8}, at::kLong), at::ones({4, 8}, at::kLong), one),
              says("info_nce: image and text must be floating, got Long and Long"));
}

}  // namespace info_nce_test
