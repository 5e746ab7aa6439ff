#include <cmath>
#include <limits>

#include <gmock/gmock.h>

#include <ATen/OpMathType.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/autograd.h>

#include <weft/nn/autocast.hpp>
#include <weft/ops/linear_cross_entropy.hpp>

#include "support/devices.hpp"
#include "support/gradcheck.hpp"
#include "support/tensors.hpp"

namespace linear_cross_entropy_test {

using at::Tensor;
using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::ops::linear_cross_entropy;
using weft::ops::LinearCrossEntropyOptions;
using weft::ops::LossReduction;
using weft::test::close;

// The logits, and PyTorch's loss of them; the two terms that it lacks, as their papers write them.
static Tensor definition(const Tensor& x, const Tensor& weight, const Tensor& labels,
                         const LinearCrossEntropyOptions& options) {
  auto logits = x.matmul(weight.t());
  if (options.bias) logits = logits + *options.bias;
  if (options.softcap > 0) logits = options.softcap * (logits / options.softcap).tanh();
  const auto labelled = labels.ne(-100);
  const auto lse = logits.logsumexp(1);
  auto losses = at::cross_entropy_loss(logits, labels, {}, at::Reduction::None, -100,
                                       options.label_smoothing) +
                at::where(labelled, options.z_loss * lse * lse, 0.0);
  if (options.reduction == LossReduction::none) return losses;
  if (options.reduction == LossReduction::sum) return losses.sum();
  return losses.sum() / labelled.sum().clamp_min(1);
}

struct Inputs {
  Tensor x, weight, bias, labels;
  Inputs to(at::ScalarType dtype) const {  // fresh leaves
    const auto leaf = [&](const Tensor& t) {
      return t.detach().to(dtype, false, /*copy=*/true).requires_grad_(true);
    };
    return {leaf(x), leaf(weight), leaf(bias), labels};
  }
  Inputs on(at::Device device) const {
    return {x.to(device), weight.to(device), bias.to(device), labels.to(device)};
  }
};

// `labelled` of the rows have a label.
static Inputs inputs_of(int64_t n, int64_t d, int64_t v, double labelled, double spread = 1) {
  const auto labels = at::randint(v, {n}, at::kLong);
  const auto drop = at::rand({n}).ge(labelled);
  return {at::randn({n, d}, at::kDouble), spread * at::randn({v, d}, at::kDouble) / std::sqrt(d),
          at::randn({v}, at::kDouble), labels.masked_fill(drop, -100)};
}

static std::vector<Tensor> gradients(const Tensor& loss, const Inputs& in, bool biased) {
  std::vector<Tensor> wanted = {in.x, in.weight};
  if (biased) wanted.push_back(in.bias);
  // Rows of a loss by row count differently.
  const auto weights = at::arange(1, loss.numel() + 1, loss.options()).view(loss.sizes()).div(3);
  return torch::autograd::grad({(loss * weights).sum()}, wanted);
}

static void expect_definition(const Inputs& exact, const LinearCrossEntropyOptions& options,
                              at::ScalarType dtype, double forward, double backward) {
  const bool biased = options.bias.has_value();
  const auto a = exact.to(dtype), b = exact.to(at::kDouble);
  auto mine = options, theirs = options;
  if (biased) mine.bias = a.bias, theirs.bias = b.bias;
  const auto loss = linear_cross_entropy(a.x, a.weight, a.labels, mine);
  const auto expected = definition(b.x, b.weight, b.labels, theirs);
  EXPECT_EQ(loss.scalar_type(), at::toOpMathType(dtype));
  EXPECT_TRUE(close(loss, expected, forward));
  const auto got = gradients(loss, a, biased), wanted = gradients(expected, b, biased);
  for (size_t i = 0; i < wanted.size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_EQ(got[i].scalar_type(), dtype);
    EXPECT_TRUE(close(got[i], wanted[i], backward));
  }
}

class LinearCrossEntropy : public testing::TestWithParam<at::Device> {};
INSTANTIATE_TEST_SUITE_P(, LinearCrossEntropy, testing::ValuesIn(weft::test::devices()),
                         weft::test::device_name);

TEST_P(LinearCrossEntropy, IsTheDefinitionAtEverySizeAndShareOfLabels) {
  torch::manual_seed(0);
  for (const int64_t n : {1, 2, 3, 127, 1000}) {
    for (const double labelled : {0.0, 0.1, 0.3, 1.0}) {
      for (const int64_t v : {1, 2, 33, 515}) {
        SCOPED_TRACE(testing::Message() << n << " rows, " << labelled << ", " << v << " classes");
        const auto in = inputs_of(n, 24, v, labelled).on(GetParam());
        expect_definition(in, {}, at::kDouble, 1e-12, 1e-11);
        expect_definition(in, {}, at::kFloat, 1e-5, 1e-4);
      }
    }
  }
}

TEST_P(LinearCrossEntropy, IsTheDefinitionWithEveryOption) {
  torch::manual_seed(1);
  const auto in = inputs_of(127, 24, 515, 0.6, 3).on(GetParam());
  for (const bool biased : {false, true}) {
    for (const double smoothing : {0.0, 0.1}) {
      for (const double z_loss : {0.0, 1e-2}) {
        for (const double softcap : {0.0, 5.0}) {
          for (const auto reduction :
               {LossReduction::mean, LossReduction::sum, LossReduction::none}) {
            SCOPED_TRACE(testing::Message() << biased << ' ' << smoothing << ' ' << z_loss << ' '
                                            << softcap << ' ' << static_cast<int>(reduction));
            const LinearCrossEntropyOptions options = {
                .bias = biased ? std::optional(in.bias) : std::nullopt,
                .label_smoothing = smoothing,
                .z_loss = z_loss,
                .softcap = softcap,
                .reduction = reduction};
            expect_definition(in, options, at::kDouble, 1e-12, 1e-11);
            expect_definition(in, options, at::kFloat, 1e-5, 1e-4);
          }
        }
      }
    }
  }
}

// Several chunks: 64 MiB of logits are 83 rows of so many classes in fp32, 167 in bf16.
TEST(LinearCrossEntropyOp, ChunksAddUp) {
  torch::manual_seed(2);
  const auto in = inputs_of(300, 4, 200000, 0.7);
  LinearCrossEntropyOptions options;
  options.bias = in.bias;
  expect_definition(in, options, at::kFloat, 1e-5, 1e-4);
  expect_definition(in, options, at::kBFloat16, 5e-3, 2e-2);
  options.reduction = LossReduction::none;
  expect_definition(in, options, at::kFloat, 1e-5, 1e-4);
}

TEST(LinearCrossEntropyOp, GradientsAreFiniteDifferences) {
  torch::manual_seed(3);
  const auto in = inputs_of(6, 3, 7, 0.7).to(at::kDouble);
  ASSERT_TRUE(in.labels.ne(-100).any().item<bool>());
  for (const auto reduction : {LossReduction::mean, LossReduction::sum, LossReduction::none}) {
    const auto loss = [&](const std::vector<Tensor>& v) {
      return linear_cross_entropy(v[0], v[1], in.labels,
                                  {.bias = v[2],
                                   .label_smoothing = 0.2,
                                   .z_loss = 0.05,
                                   .softcap = 2.5,
                                   .reduction = reduction});
    };
    EXPECT_TRUE(weft::test::gradcheck(loss, {in.x, in.weight, in.bias}, 1e-7));
  }
}

TEST(LinearCrossEntropyOp, OnlyTheGradientsThatAreWanted) {
  torch::manual_seed(4);
  const auto in = inputs_of(9, 5, 11, 0.8);
  for (const int which : {0, 1, 2}) {
    const auto a = in.to(at::kDouble), b = in.to(at::kDouble);
    const auto leaf = [&](const Inputs& i) {
      return which == 0 ? i.x : which == 1 ? i.weight : i.bias;
    };
    for (const auto& i : {a, b}) {
      for (auto t : {i.x, i.weight, i.bias}) t.set_requires_grad(t.is_same(leaf(i)));
    }
    const auto mine = linear_cross_entropy(a.x, a.weight, a.labels, {.bias = a.bias});
    const auto theirs = definition(b.x, b.weight, b.labels, {.bias = b.bias});
    EXPECT_TRUE(close(torch::autograd::grad({mine}, {leaf(a)})[0],
                      torch::autograd::grad({theirs}, {leaf(b)})[0], 1e-12));
  }
  const torch::NoGradGuard no_grad;
  EXPECT_TRUE(close(linear_cross_entropy(in.x, in.weight, in.labels),
                    definition(in.x, in.weight, in.labels, {}), 1e-12));
}

// The gradient is that of the loss times what comes from above, also where the graph is kept.
TEST(LinearCrossEntropyOp, BackwardTwiceAndByAFactor) {
  torch::manual_seed(5);
  const auto in = inputs_of(9, 5, 11, 0.8).to(at::kDouble);
  const auto loss = linear_cross_entropy(in.x, in.weight, in.labels);
  loss.backward({}, /*retain_graph=*/true);
  const auto once = in.weight.grad().clone();
  loss.backward({}, /*retain_graph=*/true);
  EXPECT_TRUE(close(in.weight.grad(), 2 * once, 1e-14));
  (loss * 0.25).backward();
  EXPECT_TRUE(close(in.weight.grad(), 2.25 * once, 1e-14));
}

TEST(LinearCrossEntropyOp, NoLabelAtAllGivesZeroAndNoGradient) {
  const auto in = inputs_of(5, 4, 6, 0).to(at::kFloat);
  for (const auto reduction : {LossReduction::mean, LossReduction::sum, LossReduction::none}) {
    const auto loss = linear_cross_entropy(in.x, in.weight, in.labels, {.reduction = reduction});
    EXPECT_TRUE(at::equal(loss, at::zeros_like(loss)));
    for (const auto& g : torch::autograd::grad({loss.sum()}, {in.x, in.weight}))
      EXPECT_TRUE(at::equal(g, at::zeros_like(g)));
  }
  const auto none =
      linear_cross_entropy(at::ones({0, 4}), at::ones({6, 4}), at::empty({0}, at::kLong));
  EXPECT_EQ(none.item<float>(), 0);
}

// Late in training a softmax minus 1 has no digits left in fp32, and its logarithm neither.
TEST(LinearCrossEntropyOp, KeepsItsDigitsWhereTheLossIsNearZero) {
  torch::manual_seed(6);
  const auto labels = at::arange(40);
  const auto x = 5 * at::eye(40, at::kDouble) + 0.02 * at::randn({40, 40}, at::kDouble);
  const auto exact = Inputs{x, 5 * at::eye(40, at::kDouble), at::zeros({40}, at::kDouble), labels};
  const auto a = exact.to(at::kFloat), b = exact.to(at::kDouble);
  const auto loss = linear_cross_entropy(a.x, a.weight, a.labels);
  // log(1 + sum over the others), in which nothing cancels.
  const auto logits = b.x.mm(b.weight.t());
  const auto others =
      (logits - logits.diagonal().unsqueeze(1)).exp().masked_fill(at::eye(40, at::kBool), 0);
  const auto expected = others.sum(1).log1p().mean();
  EXPECT_LT(expected.item<double>(), 1e-8);
  EXPECT_TRUE(close(loss, expected, 1e-4));
  const auto got = gradients(loss, a, false), wanted = gradients(expected, b, false);
  for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(close(got[i], wanted[i], 1e-4));
}

TEST(LinearCrossEntropyOp, InfiniteAndMissingNumbers) {
  torch::manual_seed(7);
  const auto in = inputs_of(6, 4, 40, 1).to(at::kFloat);
  const auto masked = at::arange(40).ge(30);  // classes that cannot be
  const auto bias = at::zeros({40}).masked_fill(masked, -std::numeric_limits<float>::infinity());
  const auto labels = in.labels.remainder(30);
  const auto loss = linear_cross_entropy(in.x, in.weight, labels, {.bias = bias});
  const auto kept = in.to(at::kDouble);
  const auto expected = definition(kept.x, kept.weight.narrow(0, 0, 30), labels, {});
  EXPECT_TRUE(close(loss, expected, 1e-5));
  EXPECT_TRUE(close(gradients(loss, in, false)[1], gradients(expected, kept, false)[1], 1e-4));

  in.x.detach()[2][1] = std::numeric_limits<float>::quiet_NaN();
  const auto rows =
      linear_cross_entropy(in.x, in.weight, labels, {.reduction = LossReduction::none});
  EXPECT_TRUE(at::equal(rows.isnan().nonzero(), at::full({1, 1}, 2, at::kLong)));
  EXPECT_TRUE(gradients(rows, in, false)[1].isnan().all().item<bool>());
}

TEST(LinearCrossEntropyOp, TakesStridedInputs) {
  torch::manual_seed(8);
  const auto in = inputs_of(50, 12, 31, 0.5);
  auto strided = in;
  strided.x = at::stack({in.x, in.x}, 2).select(2, 1);
  strided.weight = at::stack({in.weight, in.weight}, 2).select(2, 0);
  strided.labels = at::stack({in.labels, in.labels}, 1).select(1, 1);
  EXPECT_FALSE(strided.x.is_contiguous() || strided.weight.is_contiguous());
  const auto plain = in.to(at::kDouble);
  const auto expected = definition(plain.x, plain.weight, plain.labels, {});
  const auto wanted = gradients(expected, plain, false);
  for (const auto& weight : {strided.weight, in.weight.t().contiguous().t()}) {
    const auto x = strided.x.detach().requires_grad_(true),
               w = weight.detach().requires_grad_(true);
    const auto loss = linear_cross_entropy(x, w, strided.labels);
    EXPECT_TRUE(close(loss, expected, 1e-13));
    const auto got = torch::autograd::grad({loss / 3}, {x, w});
    for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(close(got[i], wanted[i], 1e-12));
  }
}

TEST(LinearCrossEntropyOp, BatchesKeepTheirShape) {
  torch::manual_seed(9);
  const auto in = inputs_of(12, 5, 7, 0.7);
  const auto x = in.x.view({3, 4, 5}), labels = in.labels.view({3, 4});
  const auto rows = linear_cross_entropy(x, in.weight, labels, {.reduction = LossReduction::none});
  EXPECT_EQ(rows.sizes(), labels.sizes());
  EXPECT_TRUE(close(rows.flatten(),
                    definition(in.x, in.weight, in.labels, {.reduction = LossReduction::none}),
                    1e-13));
}

TEST_P(LinearCrossEntropy, HalfPrecisionIsAsNearAsItsLogits) {
  torch::manual_seed(10);
  for (const auto dtype : {at::kBFloat16, at::kHalf}) {
    const auto rounded = inputs_of(200, 64, 515, 0.6).on(GetParam()).to(dtype);
    const auto exact = Inputs{rounded.x.to(at::kDouble), rounded.weight.to(at::kDouble),
                              rounded.bias.to(at::kDouble), rounded.labels};
    LinearCrossEntropyOptions options;
    options.bias = exact.bias;
    expect_definition(exact, options, dtype, 2e-3, 2e-2);
    options.reduction = LossReduction::none;
    expect_definition(exact, options, dtype, 1e-2, 2e-2);
  }
}

// A mean over many rows: its gradients lie below fp16's range until they are added up.
TEST_P(LinearCrossEntropy, Fp16GradientsOfALongMeanDoNotVanish) {
  torch::manual_seed(11);
  const auto in = inputs_of(20000, 8, 16, 1).on(GetParam());
  expect_definition(in, {}, at::kHalf, 2e-3, 2e-2);
}

TEST_P(LinearCrossEntropy, AutocastCastsTheProductsAlone) {
  torch::manual_seed(12);
  const auto in = inputs_of(64, 32, 100, 0.7).on(GetParam()).to(at::kFloat);
  const auto low = in.to(at::kBFloat16);
  const auto expected = linear_cross_entropy(low.x, low.weight, low.labels, {.bias = low.bias});
  const auto wanted = gradients(expected, low, true);
  for (const auto reduction : {LossReduction::mean, LossReduction::none}) {
    Tensor loss;
    std::vector<Tensor> got;
    {
      const weft::nn::AutocastGuard autocast(GetParam().type(), at::kBFloat16);
      loss = linear_cross_entropy(in.x, in.weight, in.labels,
                                  {.bias = in.bias, .reduction = reduction});
      if (reduction == LossReduction::none) loss = loss.sum() / in.labels.ne(-100).sum();
      got = gradients(loss, in, true);  // inside the region, too
      // Towers may differ in dtype there.
      EXPECT_TRUE(close(linear_cross_entropy(low.x, in.weight, in.labels, {.bias = in.bias}),
                        expected, 1e-6));
    }
    EXPECT_EQ(loss.scalar_type(), at::kFloat);
    EXPECT_TRUE(close(loss, expected, 1e-6));
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(got[i].scalar_type(), at::kFloat);
      EXPECT_TRUE(close(got[i], wanted[i], 1e-2));
    }
  }
}

TEST(LinearCrossEntropyOp, MetaGivesShapesAndGradients) {
  const auto options = at::TensorOptions().device(at::kMeta);
  const auto x = at::empty({6, 4}, options).requires_grad_(true);
  const auto weight = at::empty({9, 4}, options).requires_grad_(true);
  const auto labels = at::empty({6}, options.dtype(at::kLong));
  for (const auto reduction : {LossReduction::mean, LossReduction::none}) {
    const auto loss = linear_cross_entropy(x, weight, labels, {.reduction = reduction});
    EXPECT_TRUE(loss.is_meta());
    EXPECT_EQ(loss.dim(), reduction == LossReduction::none ? 1 : 0);
    const auto grads = torch::autograd::grad({loss.sum()}, {x, weight});
    EXPECT_EQ(grads[0].sizes(), x.sizes());
    EXPECT_EQ(grads[1].sizes(), weight.sizes());
  }
}

// A backend without kernels of its own runs the composite reference.
TEST(LinearCrossEntropyOp, TheFallbackOfOtherBackendsIsTheDefinition) {
  torch::manual_seed(13);
  using Rows = std::tuple<Tensor, Tensor, Tensor, Tensor>(
      const Tensor&, const Tensor&, const Tensor&, const std::optional<Tensor>&,
      const std::optional<Tensor>&, double, double, double, std::array<bool, 3>);
  const auto op = c10::Dispatcher::singleton()
                      .findSchemaOrThrow("weft::_linear_cross_entropy_rows", "")
                      .typed<Rows>();
  const auto in = inputs_of(17, 6, 13, 0.6).to(at::kDouble);
  const auto row_grad = at::rand({17}, at::kDouble);
  const auto expected = definition(in.x, in.weight, in.labels,
                                   {.bias = in.bias,
                                    .label_smoothing = 0.1,
                                    .z_loss = 0.01,
                                    .softcap = 3,
                                    .reduction = LossReduction::none});
  const auto wanted =
      torch::autograd::grad({(expected * row_grad).sum()}, {in.x, in.weight, in.bias});
  const torch::NoGradGuard no_grad;
  const auto [losses, x, weight, bias] =
      op.redispatch(c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), in.x, in.weight, in.labels,
                    in.bias, row_grad, 0.1, 0.01, 3.0, {true, true, true});
  EXPECT_TRUE(close(losses, expected, 1e-13));
  EXPECT_TRUE(close(x, wanted[0], 1e-12));
  EXPECT_TRUE(close(weight, wanted[1], 1e-12));
  EXPECT_TRUE(close(bias, wanted[2], 1e-12));
}

TEST(LinearCrossEntropyOp, RefusesSecondDerivatives) {
  const auto in = inputs_of(4, 3, 5, 1).to(at::kDouble);
  for (const auto reduction : {LossReduction::mean, LossReduction::none}) {
    const auto loss = linear_cross_entropy(in.x, in.weight, in.labels, {.reduction = reduction});
    const auto first = torch::autograd::grad({loss.sum()}, {in.x}, {}, std::nullopt,
                                             /*create_graph=*/true);
    EXPECT_THAT([&] { first[0].sum().backward(); },
                ThrowsMessage<c10::Error>(HasSubstr("is not implemented")));
  }
}

TEST_P(LinearCrossEntropy, LabelsOutOfRangeAreNamed) {
  const auto x = at::ones({4, 3}, GetParam()), weight = at::ones({5, 3}, GetParam());
  for (const int64_t wrong : {5, -1, -99, -101}) {
    const auto labels = at::tensor({int64_t{4}, int64_t{-100}, wrong, wrong}).to(GetParam());
    EXPECT_THAT([&] { linear_cross_entropy(x, weight, labels); },
                ThrowsMessage<c10::ValueError>(HasSubstr("labels must be in [0, 5) or -100, got " +
                                                         std::to_string(wrong) + " in row 2")));
  }
}

TEST(LinearCrossEntropyErrors, NameRuleAndValues) {
  const auto x = at::ones({4, 3}), weight = at::ones({5, 3}), labels = at::zeros({4}, at::kLong);
  const auto refuse = [](const Tensor& x, const Tensor& weight, const Tensor& labels,
                         const LinearCrossEntropyOptions& options = {}) {
    return [=] { linear_cross_entropy(x, weight, labels, options); };
  };
  const auto says = [](const char* text) {
    return ThrowsMessage<c10::ValueError>(HasSubstr(text));
  };
  EXPECT_THAT(refuse(x, at::ones({5, 4}), labels),
              says("x must be [..., D] and weight [V, D], got [4, 3] and [5, 4]"));
  EXPECT_THAT(refuse(x, at::ones({0, 3}), labels), says("at least one class is needed"));
  EXPECT_THAT(
      refuse(x, weight, at::zeros({5}, at::kLong)),
      says("labels must have the shape of x without its last dimension, got [5] for x [4, 3]"));
  EXPECT_THAT(refuse(x, weight, at::zeros({4})), says("labels must be int64, got Float"));
  EXPECT_THAT(refuse(x, weight.to(at::kDouble), labels),
              says("must have one dtype, got Float, Double"));
  EXPECT_THAT(refuse(x, weight, labels, {.bias = at::ones({4})}),
              says("bias must be [5], got [4]"));
  EXPECT_THAT(refuse(x, weight, labels, {.label_smoothing = 1.5}),
              says("label_smoothing must be in [0, 1], got 1.5"));
  EXPECT_THAT(refuse(x, weight, labels, {.z_loss = -1}), says("must not be negative, got -1"));
}

}  // namespace linear_cross_entropy_test
