#include <cmath>
#include <iostream>

#include <fmt/format.h>

#include <torch/types.h>
#include <torch/utils.h>

#include <weft/checkpoint/tensors.hpp>
#include <weft/eval/classification.hpp>
#include <weft/eval/linear_probe.hpp>
#include <weft/io/file.hpp>

#include "support/gmock.hpp"
#include "support/python.hpp"
#include "support/tensors.hpp"

namespace linear_probe_test {

using namespace weft::test;
using torch::Tensor;
using weft::eval::fit_logistic;
using weft::eval::linear_probe;

/// Rows around one centre a class.
struct Blobs {
  Blobs(int64_t count, int64_t width, int64_t classes, double spread, int64_t seed) {
    torch::manual_seed(11);
    const auto centres = torch::randn({classes, width});
    torch::manual_seed(seed);
    labels = torch::randint(classes, {count}, torch::kLong);
    features = centres.index_select(0, labels) + spread * torch::randn({count, width});
  }
  Tensor features, labels;
};

static double accuracy(const weft::eval::LinearProbe& probe, const Blobs& data) {
  return weft::eval::classification(probe.scores(data.features), data.labels).top1;
}

TEST(FitLogistic, EndsWhereAutogradSaysTheGradientIsZero) {
  const Blobs data(150, 12, 3, 1.5, 1);
  for (const double c : {0.01, 1.0, 100.0}) {
    const auto fit = fit_logistic(data.features, data.labels, 3, {.c = c, .tolerance = 1e-9});
    EXPECT_TRUE(fit.converged) << c;
    EXPECT_LE(fit.gradient, 1e-9);
    const auto weight = fit.weight.clone().requires_grad_(),
               bias = fit.bias.clone().requires_grad_();
    const auto logits = data.features.to(torch::kDouble).mm(weight.t()) + bias;
    const auto loss =
        at::cross_entropy_loss(logits, data.labels) + weight.square().sum() / (2 * c * 150);
    loss.backward();
    EXPECT_LT(max_norm(weight.grad()), 2e-9) << c;
    EXPECT_LT(max_norm(bias.grad()), 2e-9) << c;
    EXPECT_NEAR(fit.objective, loss.item<double>(), 1e-12);
  }
}

TEST(FitLogistic, EqualsPyTorchsLbfgs) {
  WEFT_NEEDS_PYTHON();
  const TempFolder folder;
  const auto log = folder / "log.txt";
  const auto status =
      run_python_file(WEFT_EVAL_REFERENCES, {"logistic", folder.path().string()}, log);
  std::cout << weft::io::read_file(log);
  ASSERT_EQ(status, 0);
  const auto tensors = weft::checkpoint::read_tensors(folder / "logistic.safetensors");
  for (const double c : {0.01, 1.0, 100.0}) {
    const auto fit =
        fit_logistic(tensors.at("x"), tensors.at("y"), 4, {.c = c, .tolerance = 1e-10});
    EXPECT_TRUE(fit.converged) << c;
    const auto objective = tensors.at(fmt::format("objective {:g}", c)).item<double>();
    EXPECT_NEAR(fit.objective, objective, 1e-12 * objective);
    EXPECT_TRUE(close(fit.weight, tensors.at(fmt::format("weight {:g}", c)), 1e-6)) << c;
  }
}

TEST(FitLogistic, SharesTheClassesWhereFeaturesSayNothing) {
  // With features of 0 the bias alone remains: the classes' frequencies.
  const auto labels = torch::tensor({0, 0, 0, 1}, torch::kLong);
  const auto fit = fit_logistic(torch::zeros({4, 3}), labels, 2, {.tolerance = 1e-10});
  EXPECT_TRUE(close(fit.bias.softmax(0), torch::tensor({0.75, 0.25}), 1e-8));
  EXPECT_EQ(max_norm(fit.weight), 0);
}

TEST(FitLogistic, SaysWhenItDidNotConverge) {
  const Blobs data(60, 8, 3, 0.1, 2);
  const auto fit = fit_logistic(data.features, data.labels, 3, {.c = 1e6, .max_iterations = 3});
  EXPECT_FALSE(fit.converged);
  EXPECT_EQ(fit.iterations, 3);
  EXPECT_GT(fit.gradient, 1e-5);
}

TEST(LinearProbe, SeparatesWhatIsSeparable) {
  const Blobs train(300, 16, 5, 0.05, 3), test(100, 16, 5, 0.05, 4);
  const auto probe = linear_probe(train.features, train.labels, 5);
  EXPECT_EQ(accuracy(probe, test), 1);
  EXPECT_TRUE(probe.fit.converged);
}

TEST(LinearProbe, SweepsAsTheBinarySearchDoes) {
  const Blobs train(400, 40, 4, 4.0, 5), test(400, 40, 4, 4.0, 6);
  const auto probe = linear_probe(train.features, train.labels, 4, {.seed = 1});
  // Seven at first, then at most two for each of four halvings.
  EXPECT_GE(probe.sweep.size(), 11u);
  EXPECT_LE(probe.sweep.size(), 15u);
  double best = 0, c = 0, last = 0;
  for (const auto& [tried, share] : probe.sweep) {
    EXPECT_GT(tried, last);
    last = tried;
    const auto step = 8 * std::log10(tried);
    EXPECT_NEAR(step, std::round(step), 1e-9);
    if (share > best) best = share, c = tried;
  }
  EXPECT_EQ(probe.fit.c, c);
  EXPECT_NEAR(probe.sweep.front().first, 1e-6, 1e-15);
  EXPECT_NEAR(probe.sweep.back().first, 1e6, 1e-3);
  // At the end the search stood beside it on the grid.
  int neighbours = 0;
  for (const auto& [tried, share] : probe.sweep)
    neighbours += std::abs(std::abs(8 * std::log10(tried / c)) - 1) < 1e-6;
  EXPECT_GE(neighbours, 1);
  // The swept penalty beats none on noisy data.
  const auto weak = linear_probe(train.features, train.labels, 4, {.c = 1e6});
  EXPECT_GE(accuracy(probe, test), accuracy(weak, test));
  EXPECT_TRUE(weak.sweep.empty());
  const auto again = linear_probe(train.features, train.labels, 4, {.seed = 1});
  EXPECT_TRUE(torch::equal(probe.fit.weight, again.fit.weight));
  EXPECT_THAT(probe.json().keys(),
              ElementsAre("c", "objective", "gradient", "iterations", "converged", "sweep"));
}

TEST(LinearProbe, StandardisesWhereAsked) {
  const Blobs plain(200, 6, 3, 0.5, 7);
  // The same data in other units and places, and a feature that never changes.
  const auto units = torch::tensor({1e3, 1e-3, 1.0, 50.0, 0.2, 7.0});
  auto moved = plain;
  moved.features = torch::cat({plain.features * units + 4, torch::full({200, 1}, 3.0)}, 1);
  const auto options =
      weft::eval::LinearProbeOptions{.c = 1.0, .standardize = true, .tolerance = 1e-8};
  const auto a = linear_probe(plain.features, plain.labels, 3, options);
  const auto b = linear_probe(moved.features.to(torch::kDouble), moved.labels, 3, options);
  EXPECT_TRUE(close(b.scores(moved.features), a.scores(plain.features), 1e-2));
  EXPECT_TRUE(b.scores(moved.features).isfinite().all().item<bool>());
}

TEST(LinearProbe, NamesWhatIsWrong) {
  const Blobs data(10, 3, 2, 1, 8);
  const auto message = [&](auto&& call, const char* part) {
    EXPECT_THAT(call, ThrowsMessage<c10::ValueError>(HasSubstr(part)));
  };
  message([&] { linear_probe(data.features, data.labels, 1); }, "labels must be 0 to 0");
  message([&] { linear_probe(data.features, data.labels.narrow(0, 0, 9), 2); }, "got [10, 3]");
  message([&] { linear_probe(data.features * NAN, data.labels, 2); }, "finite");
  message([&] { linear_probe(data.features, data.labels, 2, {.c = 0.0}); }, "c must be positive");
  message([&] { linear_probe(data.features, data.labels, 2, {.held_out = 1}); },
          "held_out must lie between 0 and 1, got 1");
  message([&] { linear_probe(data.features.narrow(0, 0, 1), data.labels.narrow(0, 0, 1), 2); },
          "leave none to hold out");
}

}  // namespace linear_probe_test
