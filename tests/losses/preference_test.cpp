#include <cmath>

#include <torch/torch.h>

#include <weft/losses/preference.hpp>

#include "support/gmock.hpp"
#include "support/gradcheck.hpp"
#include "support/tensors.hpp"

namespace preference_test {

using namespace weft::test;
using weft::losses::preference_loss;
using weft::losses::PreferenceInput;
using weft::losses::PreferenceKind;
using weft::losses::PreferenceOptions;
using weft::losses::sequence_log_probs;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// One pair, as the papers write it.
double definition(const PreferenceOptions& o, double chosen, double rejected, double ref_chosen,
                  double ref_rejected) {
  const double h = (chosen - ref_chosen) - (rejected - ref_rejected);
  switch (o.kind) {
    case PreferenceKind::sigmoid:
      return -(1 - o.label_smoothing) * std::log(sigmoid(o.beta * h)) -
             o.label_smoothing * std::log(sigmoid(-o.beta * h));
    case PreferenceKind::ipo:
      return std::pow(h - 1 / (2 * o.beta), 2);
    case PreferenceKind::hinge:
      return std::max(0.0, 1 - o.beta * h);
  }
  return NAN;
}

struct PreferenceLoss : testing::TestWithParam<PreferenceOptions> {};

TEST_P(PreferenceLoss, IsItsDefinitionWithItsGradients) {
  torch::manual_seed(1);
  const auto& o = GetParam();
  constexpr int64_t B = 6;
  const auto draw = [] { return torch::randn({B}, torch::kDouble) * 8 - 20; };
  PreferenceInput in{draw().requires_grad_(true), draw().requires_grad_(true)};
  const auto zero = torch::zeros({B}, torch::kDouble);
  const auto ref_chosen = o.reference_free ? zero : draw();
  const auto ref_rejected = o.reference_free ? zero : draw();
  if (!o.reference_free) in.reference_chosen = ref_chosen, in.reference_rejected = ref_rejected;
  const auto out = preference_loss(in, o);
  double loss = 0, margin = 0, right = 0;
  for (int64_t i = 0; i < B; ++i) {
    const auto at = [i](const torch::Tensor& t) { return t[i].item<double>(); };
    loss += definition(o, at(in.chosen), at(in.rejected), at(ref_chosen), at(ref_rejected));
    const auto chosen = o.beta * (at(in.chosen) - at(ref_chosen));
    const auto rejected = o.beta * (at(in.rejected) - at(ref_rejected));
    EXPECT_NEAR(at(out.chosen_rewards), chosen, 1e-12);
    EXPECT_NEAR(at(out.rejected_rewards), rejected, 1e-12);
    margin += chosen - rejected;
    right += chosen > rejected;
  }
  EXPECT_NEAR(out.loss.item<double>(), loss / B, 1e-12 * std::abs(loss));
  EXPECT_NEAR(out.margin.item<double>(), margin / B, 1e-12);
  EXPECT_NEAR(out.accuracy.item<double>(), right / B, 1e-12);
  EXPECT_FALSE(out.margin.requires_grad());
  EXPECT_FALSE(out.chosen_rewards.requires_grad());
  EXPECT_TRUE(gradcheck(
      [&](const std::vector<torch::Tensor>& v) {
        auto moved = in;
        moved.chosen = v[0];
        moved.rejected = v[1];
        return preference_loss(moved, o).loss;
      },
      {in.chosen, in.rejected}));
}

INSTANTIATE_TEST_SUITE_P(
    , PreferenceLoss,
    testing::Values(PreferenceOptions{}, PreferenceOptions{.beta = 0.3, .label_smoothing = 0.2},
                    PreferenceOptions{.beta = 0.5, .kind = PreferenceKind::ipo},
                    PreferenceOptions{.beta = 0.05, .kind = PreferenceKind::hinge},
                    PreferenceOptions{.beta = 0.2, .reference_free = true}));

// Far from the reference the sigmoid is 0 in fp32, its logarithm is not.
TEST(Preference, StaysFiniteFarFromTheReference) {
  const auto far = torch::tensor({-5000.0F}), near = torch::tensor({0.0F});
  const auto out = preference_loss({far, near, near, near}, {.beta = 1});
  EXPECT_FLOAT_EQ(out.loss.item<float>(), 5000);
  EXPECT_EQ(out.accuracy.item<float>(), 0);
}

TEST(Preference, HalfPrecisionIsWidened) {
  const auto at = [](double x) { return torch::full({2}, x, torch::kBFloat16); };
  const auto out = preference_loss({at(-3), at(-4), at(-2), at(-5)});
  EXPECT_EQ(out.loss.scalar_type(), torch::kFloat);
  EXPECT_NEAR(out.loss.item<double>(), -std::log(sigmoid(0.1 * ((-3 + 2) - (-4 + 5)))), 1e-6);
}

TEST(Preference, InputsThatDoNotFitAreErrors) {
  const auto two = torch::zeros({2}), three = torch::zeros({3});
  const auto message = [](const char* text) {
    return ThrowsMessage<c10::ValueError>(HasSubstr(text));
  };
  EXPECT_THAT(
      [&] {
        preference_loss({two, three, two, two});
      },
      message("rejected must be [B] floats as the others, got [3] Float"));
  EXPECT_THAT([&] { preference_loss({two, two}); }, message("reference_chosen must be"));
  EXPECT_THAT(
      [&] {
        preference_loss({two, two, two, two}, {.reference_free = true});
      },
      message("goes without a reference"));
  EXPECT_THAT(
      [&] {
        preference_loss({two, two, two, two}, {.beta = 0});
      },
      message("beta must be positive, got 0"));
  EXPECT_THAT(
      [&] {
        preference_loss({two, two, two, two},
                        {.label_smoothing = 0.1, .kind = PreferenceKind::hinge});
      },
      message("0 for other kinds than sigmoid, got 0.1"));
}

TEST(SequenceLogProbs, AreTheSumsOfLogSoftmaxOverTheLabels) {
  torch::manual_seed(2);
  constexpr int64_t B = 3, T = 7, E = 5, V = 11;
  for (const double cap : {0.0, 2.0}) {
    for (const bool bias : {false, true}) {
      const auto hidden = torch::randn({B, T, E}, torch::kDouble).requires_grad_(true);
      weft::LmHead head{.weight = torch::randn({V, E}, torch::kDouble).requires_grad_(true),
                        .soft_cap = cap};
      if (bias) head.bias = torch::randn({V}, torch::kDouble);
      auto labels = torch::randint(0, V, {B, T}, torch::kLong);
      labels[0].slice(0, 0, 3) = -100;
      labels[1].slice(0, 5) = -100;
      const auto found = sequence_log_probs(hidden, head, labels);
      auto logits = hidden.matmul(head.weight.t());
      if (bias) logits = logits + head.bias;
      if (cap > 0) logits = cap * torch::tanh(logits / cap);
      const auto all = torch::log_softmax(logits, 2);
      std::vector<torch::Tensor> rows;
      for (int64_t b = 0; b < B; ++b) {
        auto sum = torch::zeros({}, torch::kDouble);
        for (int64_t t = 1; t < T; ++t) {
          const auto label = labels[b][t].item<int64_t>();
          if (label >= 0) sum = sum + all[b][t - 1][label];
        }
        rows.push_back(sum);
      }
      const auto expected = torch::stack(rows);
      EXPECT_TRUE(close(found, expected, 1e-12));
      const auto weights = torch::tensor({1.0, -2.0, 0.5}, torch::kDouble);
      const auto ours = torch::autograd::grad({(found * weights).sum()}, {hidden, head.weight});
      const auto theirs =
          torch::autograd::grad({(expected * weights).sum()}, {hidden, head.weight});
      for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(close(ours[i], theirs[i], 1e-10));
    }
  }
}

TEST(SequenceLogProbs, RowsWithoutALabelAndOtherShapesAreErrors) {
  const weft::LmHead head{.weight = torch::randn({6, 4})};
  const auto hidden = torch::randn({2, 3, 4});
  auto labels = torch::zeros({2, 3}, torch::kLong);
  labels[1].slice(0, 1) = -100;
  EXPECT_THAT([&] { sequence_log_probs(hidden, head, labels); },
              ThrowsMessage<c10::ValueError>(HasSubstr("a row has no labelled token")));
  EXPECT_THAT([&] { sequence_log_probs(hidden, head, labels.slice(1, 0, 2)); },
              ThrowsMessage<c10::ValueError>(HasSubstr("got [2, 3, 4] and [2, 2] Long")));
}

}  // namespace preference_test
