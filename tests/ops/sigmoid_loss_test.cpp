#include <cmath>

#include <ATen/OpMathType.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/autograd.h>

#include <weft/nn/autocast.hpp>
#include <weft/ops/sigmoid_loss.hpp>

#include "support/devices.hpp"
#include "support/gmock.hpp"
#include "support/gradcheck.hpp"

namespace sigmoid_loss_test {

using at::Tensor;
using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::ops::sigmoid_loss;

// SigLIP, algorithm 1, line by line.
static Tensor definition(const Tensor& image, const Tensor& text, const Tensor& scale,
                         const Tensor& bias) {
  const auto n = image.size(0);
  const auto logits = image.mm(text.t()) * scale + bias;
  const auto labels = 2 * at::eye(n, logits.options()) - at::ones({n}, logits.options());
  return -at::log_sigmoid(labels * logits).sum() / n;
}

static Tensor unit_rows(int64_t n, int64_t d) {
  const auto x = at::randn({n, d}, at::kDouble);
  return x / x.norm(2, {1}, true);
}

static std::vector<Tensor> pairs(int64_t n, double scale, double bias, int64_t d = 24) {
  const auto image = unit_rows(n, d), text = image + 0.5 * unit_rows(n, d);
  return {image, text / text.norm(2, {1}, true), at::scalar_tensor(scale, at::kDouble),
          at::scalar_tensor(bias, at::kDouble)};
}

static std::vector<Tensor> on(at::Device device, std::vector<Tensor> inputs) {
  for (auto& x : inputs) x = x.to(device);
  return inputs;
}

static std::vector<Tensor> leaves(const std::vector<Tensor>& inputs, at::ScalarType dtype) {
  std::vector<Tensor> out;
  for (const auto& x : inputs)
    out.push_back(x.detach().to(dtype, false, /*copy=*/true).requires_grad_(true));
  return out;
}

static void expect_definition(const std::vector<Tensor>& inputs, at::ScalarType dtype,
                              double tolerance) {
  const auto a = leaves(inputs, dtype), b = leaves(inputs, at::kDouble);
  const auto ours = sigmoid_loss(a[0], a[1], a[2], a[3]);
  const auto theirs = definition(b[0], b[1], b[2], b[3]);
  EXPECT_EQ(ours.scalar_type(), at::toOpMathType(dtype));
  const auto expected = theirs.item<double>();
  EXPECT_NEAR(ours.item<double>(), expected, tolerance * (1 + std::abs(expected)));
  const auto found = torch::autograd::grad({ours}, a), wanted = torch::autograd::grad({theirs}, b);
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(found[i].scalar_type(), dtype);
    const double bound = tolerance * wanted[i].abs().max().item<double>() + 1e-300;
    EXPECT_LE((found[i].to(at::kDouble) - wanted[i]).abs().max().item<double>(), bound) << i;
  }
}

struct SigmoidLossOn : testing::TestWithParam<at::Device> {};
INSTANTIATE_TEST_SUITE_P(, SigmoidLossOn, testing::ValuesIn(weft::test::devices()),
                         weft::test::device_name);

TEST_P(SigmoidLossOn, EqualsItsDefinitionWithGradients) {
  at::manual_seed(0);
  for (const int64_t n : {1, 2, 3, 127, 600}) {  // 600: several tiles, the last one shorter
    SCOPED_TRACE(n);
    expect_definition(on(GetParam(), pairs(n, 10, -10)), at::kDouble, 1e-11);
    expect_definition(on(GetParam(), pairs(n, 10, -10)), at::kFloat, 2e-5);
    expect_definition(on(GetParam(), pairs(n, 100, -3)), at::kDouble, 1e-11);
    expect_definition(on(GetParam(), pairs(n, 0.01, 2)), at::kDouble, 1e-11);
  }
}

TEST(SigmoidLoss, HasTheGradientsOfFiniteDifferences) {
  at::manual_seed(1);
  for (const int64_t n : {1, 2, 7}) {
    const auto inputs = leaves(pairs(n, 5, -2, 5), at::kDouble);
    EXPECT_TRUE(weft::test::gradcheck(
        [](const std::vector<Tensor>& x) { return sigmoid_loss(x[0], x[1], x[2], x[3]); }, inputs));
  }
}

TEST(SigmoidLoss, DoesNotDependOnTheOrderOfPairs) {
  at::manual_seed(2);
  const auto x = pairs(300, 10, -8);
  const auto order = at::randperm(300, at::kLong);
  const auto a = sigmoid_loss(x[0], x[1], x[2], x[3]);
  const auto b = sigmoid_loss(x[0].index_select(0, order), x[1].index_select(0, order), x[2], x[3]);
  const auto swapped = sigmoid_loss(x[1], x[0], x[2], x[3]);
  EXPECT_NEAR(a.item<double>(), b.item<double>(), 1e-12);
  EXPECT_NEAR(a.item<double>(), swapped.item<double>(), 1e-12);
}

TEST(SigmoidLoss, KeepsSmallLossesAndLargeLogits) {
  const auto one = at::ones({1, 1}, at::kFloat);
  const auto number = [](double v) { return at::scalar_tensor(v, at::kFloat); };
  EXPECT_NEAR(
      sigmoid_loss(one, one, number(20), number(0)).item<double>() / std::log1p(std::exp(-20.0)), 1,
      1e-5);
  EXPECT_NEAR(sigmoid_loss(one, one, number(1), number(-1001)).item<double>(), 1000, 1e-3);
}

TEST_P(SigmoidLossOn, IsComputedInFp32UnderAutocastAndReadsStridedRows) {
  at::manual_seed(3);
  const auto x = on(GetParam(), pairs(40, 10, -10));
  const auto expected = definition(x[0], x[1], x[2], x[3]).item<double>();
  const auto f = leaves(x, at::kFloat);
  const auto strided = f[0].detach().t().contiguous().t();
  EXPECT_NEAR(sigmoid_loss(strided, f[1], f[2], f[3]).item<double>(), expected, 1e-5);
  const weft::nn::AutocastGuard autocast(GetParam().type(), at::kBFloat16, true);
  const auto loss = sigmoid_loss(f[0], f[1], f[2], f[3]);
  EXPECT_EQ(loss.scalar_type(), at::kFloat);
  EXPECT_NEAR(loss.item<double>(), expected, 1e-5);
  loss.backward();
  EXPECT_TRUE(f[0].grad().defined());
}

TEST(SigmoidLoss, HasAReferenceForOtherBackends) {
  at::manual_seed(4);
  using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor>;
  auto& dispatcher = c10::Dispatcher::singleton();
  const auto forward =
      dispatcher.findSchemaOrThrow("weft::_sigmoid_loss", "")
          .typed<Tensor(const Tensor&, const Tensor&, const Tensor&, const Tensor&)>();
  const auto backward = dispatcher.findSchemaOrThrow("weft::_sigmoid_loss_backward", "")
                            .typed<Gradients(const Tensor&, const Tensor&, const Tensor&,
                                             const Tensor&, const Tensor&)>();
  const c10::DispatchKeySet other(c10::DispatchKey::PrivateUse1);
  const auto x = leaves(pairs(7, 12, -4), at::kDouble);
  const auto theirs = definition(x[0], x[1], x[2], x[3]);
  const auto expected = torch::autograd::grad({theirs}, x);
  const torch::NoGradGuard no_grad;
  const auto loss = forward.redispatch(other, x[0], x[1], x[2], x[3]);
  EXPECT_NEAR(loss.item<double>(), theirs.item<double>(), 1e-12);
  const auto [image, text, scale, bias] =
      backward.redispatch(other, at::ones({}, at::kDouble), x[0], x[1], x[2], x[3]);
  const std::vector<Tensor> found{image, text, scale, bias};
  for (size_t i = 0; i < found.size(); ++i)
    EXPECT_LE((found[i] - expected[i]).abs().max().item<double>(), 1e-12) << i;
}

TEST(SigmoidLoss, RefusesWrongShapesAndTypes) {
  const auto rows = at::ones({2, 3});
  const auto one = at::ones({});
  EXPECT_THAT(
      [&] {
        sigmoid_loss(rows, at::ones({3, 3}), one, one);
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("must both be [N, D], got [2, 3] and [3, 3]")));
  EXPECT_THAT(
      [&] {
        sigmoid_loss(at::ones({0, 3}), at::ones({0, 3}), one, one);
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("at least one pair")));
  EXPECT_THAT([&] { sigmoid_loss(rows, rows, one, at::ones({1})); },
              ThrowsMessage<c10::ValueError>(HasSubstr("scale and bias must be []")));
  EXPECT_THAT([&] { sigmoid_loss(rows, rows.to(at::kDouble), one, one); },
              ThrowsMessage<c10::ValueError>(HasSubstr("one dtype")));
}

}  // namespace sigmoid_loss_test
