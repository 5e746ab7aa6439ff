#include <gmock/gmock.h>

#include <torch/torch.h>

#include <weft/core/error.hpp>
#include <weft/nn/autocast.hpp>
#include <weft/nn/checkpointing.hpp>
#include <weft/nn/devices.hpp>
#include <weft/nn/flops.hpp>
#include <weft/nn/init.hpp>
#include <weft/nn/pooling.hpp>
#include <weft/nn/positions.hpp>
#include <weft/nn/random_state.hpp>
#include <weft/nn/transformer_stack.hpp>
#include <weft/vision/vision_transformer.hpp>

#include "support/gradcheck.hpp"

namespace nn_tools_test {

using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::nn::Pooling;
using weft::test::relative_error;

TEST(Init, TruncNormalHasItsMomentsAndBounds) {
  torch::manual_seed(3);
  const auto x =
      weft::nn::trunc_normal_(torch::empty({200'000}, torch::kDouble), 1.0, 0.5, 0.5, 2.0);
  EXPECT_GE(x.min().item<double>(), 0.5);
  EXPECT_LE(x.max().item<double>(), 2.0);
  // E = mean + std (phi(a) - phi(b)) / (Phi(b) - Phi(a)) with a = -1, b = 2.
  const auto phi = [](double v) { return std::exp(-v * v / 2) / std::sqrt(2 * M_PI); };
  const auto Phi = [](double v) { return 0.5 * std::erfc(-v / std::sqrt(2.0)); };
  const double expected = 1 + 0.5 * (phi(-1) - phi(2)) / (Phi(2) - Phi(-1));
  EXPECT_NEAR(x.mean().item<double>(), expected, 3e-3);
  EXPECT_THAT([] { weft::nn::trunc_normal_(torch::empty({2}), 0, 1, 3, 2); },
              ThrowsMessage<c10::ValueError>(HasSubstr("[3, 2]")));
}

TEST(Init, GuardDrawsNothing) {
  torch::manual_seed(5);
  const auto before = weft::nn::RandomState::capture();
  {
    const weft::nn::NoInitGuard guard;
    weft::nn::Linear linear(weft::nn::LinearOptions{8, 8});
  }
  EXPECT_TRUE(weft::nn::RandomState::capture().cpu.equal(before.cpu));
  EXPECT_FALSE(weft::nn::NoInitGuard::active());
}

TEST(RandomState, Restores) {
  weft::nn::seed_all(11);
  const auto state = weft::nn::RandomState::capture();
  const auto a = torch::randn({5});
  state.restore();
  EXPECT_TRUE(torch::randn({5}).equal(a));
  weft::nn::seed_all(11);
  EXPECT_TRUE(torch::randn({5}).equal(a));
}

TEST(Autocast, CastsNestsAndForgetsOldWeights) {
  auto w = torch::randn({4, 4}).requires_grad_();
  const auto x = torch::randn({2, 4});
  {
    const weft::nn::AutocastGuard on(torch::kCPU);
    EXPECT_EQ(torch::mm(x, w).scalar_type(), torch::kBFloat16);
    const weft::nn::AutocastGuard off(torch::kCPU, torch::kBFloat16, false);
    EXPECT_EQ(torch::mm(x, w).scalar_type(), torch::kFloat);
  }
  EXPECT_EQ(torch::mm(x, w).scalar_type(), torch::kFloat);
  {
    const torch::NoGradGuard no_grad;
    w.zero_();
  }
  const weft::nn::AutocastGuard on(torch::kCPU);
  EXPECT_EQ(torch::mm(x, w).abs().sum().item<float>(), 0);
}

TEST(Devices, ParsesNames) {
  EXPECT_EQ(weft::nn::parse_device("cpu"), c10::Device(c10::kCPU));
  EXPECT_THAT([] { weft::nn::parse_device("gpu"); },
              ThrowsMessage<weft::Error>(HasSubstr("found 'gpu'")));
  EXPECT_THAT([] { weft::nn::parse_device("cuda:77"); },
              ThrowsMessage<weft::Error>(HasSubstr("cuda:77")));
}

// The plain and the checkpointed stack draw the same dropout and give the same gradients, bit by
// bit, with and without autocast.
TEST(Checkpointing, EqualsPlainBitByBit) {
  for (const bool autocast : {false, true}) {
    weft::nn::TransformerStack stack(
        {.block = {.attention = {.hidden_size = 16, .num_heads = 2, .dropout = 0.1},
                   .mlp = {.hidden_size = 16, .intermediate_size = 24},
                   .layer_scale = 0.5,
                   .drop_path = 0.2,
                   .dropout = 0.3},
         .num_layers = 3});
    const auto x = torch::randn({4, 5, 16}).requires_grad_();
    const auto run = [&](bool checkpointed) {
      stack->zero_grad();
      EXPECT_EQ(weft::nn::checkpoint_activations(*stack, checkpointed), 1);
      torch::manual_seed(9);
      torch::Tensor loss;
      {
        const weft::nn::AutocastGuard guard(torch::kCPU, torch::kBFloat16, autocast);
        loss = stack(x).x.to(torch::kFloat).square().sum();
      }
      loss.backward();
      std::vector<torch::Tensor> out{loss.detach(), x.grad().clone(), torch::randn({3})};
      x.mutable_grad().reset();
      for (const auto& p : stack->parameters()) out.push_back(p.grad().clone());
      return out;
    };
    const auto plain = run(false), checkpointed = run(true);
    for (size_t i = 0; i < plain.size(); ++i) EXPECT_TRUE(plain[i].equal(checkpointed[i])) << i;
  }
}

TEST(Checkpointing, GivesGradientsWhereTheInputNeedsNone) {
  const auto w = torch::randn({3, 3}).requires_grad_();
  const auto x = torch::randn({2, 3});
  const auto y = weft::nn::checkpoint([&](const auto& t) { return t.mm(w).tanh(); }, x, {w});
  const auto grad = torch::autograd::grad({y.sum()}, {w})[0];
  const auto plain = torch::autograd::grad({x.mm(w).tanh().sum()}, {w})[0];
  EXPECT_TRUE(grad.equal(plain));
}

TEST(Positions, ResamplingKeepsTheTableAndThePrefix) {
  const auto table = torch::randn({1, 1 + 25, 8});
  EXPECT_TRUE(weft::nn::resample_positions(table, 5, 5, 1).is_same(table));
  const auto wide = weft::nn::resample_positions(table, 3, 7, 1);
  EXPECT_EQ(wide.sizes(), (std::vector<int64_t>{1, 1 + 21, 8}));
  EXPECT_TRUE(wide.narrow(1, 0, 1).equal(table.narrow(1, 0, 1)));
  EXPECT_THAT([&] { weft::nn::resample_positions(table, 3, 3, 0); },
              ThrowsMessage<c10::ValueError>(HasSubstr("prefix + G*G, got N = 26")));
}

// Bicubic interpolation, a = -0.75, half-pixel centres, edges repeated (Keys, 1981).
TEST(Positions, BicubicIsItsDefinition) {
  const int64_t G = 4, h = 6, w = 3;
  const auto table = torch::randn({1, G * G, 2}, torch::kDouble);
  const auto kernel = [](double t) {
    t = std::abs(t);
    const double a = -0.75;
    if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
    return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0.0;
  };
  const auto weights = [&](int64_t size) {  // [size, G]
    auto m = torch::zeros({size, G}, torch::kDouble);
    for (int64_t i = 0; i < size; ++i) {
      const double at = (i + 0.5) * G / size - 0.5;
      const auto base = static_cast<int64_t>(std::floor(at));
      for (int64_t j = base - 1; j <= base + 2; ++j)
        m[i][std::clamp<int64_t>(j, 0, G - 1)] += kernel(at - static_cast<double>(j));
    }
    return m;
  };
  const auto grid = table.view({G, G, 2});
  const auto expected = torch::einsum("ia,jb,abd->ijd", {weights(h), weights(w), grid});
  EXPECT_LT(relative_error(weft::nn::resample_positions(table, h, w, 0).view({h, w, 2}), expected),
            1e-12);
}

// Idefics3's: the row of the table in whose share of the image a patch begins.
TEST(Positions, BucketsAreSharesOfTheImage) {
  using weft::nn::position_buckets;
  const auto rows = [](const std::vector<int64_t>& values) { return torch::tensor(values); };
  EXPECT_TRUE(position_buckets(8, 8, 4).equal(rows({0, 0, 1, 1, 2, 2, 3, 3})));
  EXPECT_TRUE(position_buckets(3, 3, 6).equal(rows({0, 2, 4})));
  EXPECT_TRUE(position_buckets(5, 2, 4).equal(rows({0, 2, 3, 3, 3})));  // behind two real ones
  EXPECT_TRUE(position_buckets(4, 4, 1).equal(rows({0, 0, 0, 0})));
  EXPECT_TRUE(position_buckets(32, 32, 32).equal(torch::arange(32)));
  // 5 / 25 is 0.2, but fp32's 5 * (1 / 25) is a little less.
  EXPECT_EQ(position_buckets(25, 25, 25)[5].item<int64_t>(), 4);
  const auto table = torch::randn({1, 16, 3});
  const auto taken = weft::nn::resample_positions(
      table, 8, 2, 0, {.mode = weft::nn::Interpolation::bucket});  // rows 0 0 1 1 ..., columns 0 2
  for (int64_t y = 0; y < 8; ++y)
    for (int64_t x = 0; x < 2; ++x)
      EXPECT_TRUE(taken[0][2 * y + x].equal(table[0][y / 2 * 4 + 2 * x]));
  EXPECT_THAT([] { position_buckets(3, 4, 2); },
              ThrowsMessage<c10::ValueError>(HasSubstr("real 1 to count, got 3, 2 and 4")));
}

TEST(Positions, SincosIsItsDefinition) {
  const auto table = weft::nn::sincos_2d(8, 2, 3);  // [6, 8]
  for (int64_t y = 0; y < 2; ++y)
    for (int64_t x = 0; x < 3; ++x)
      for (int64_t i = 0; i < 2; ++i) {
        const double f = std::pow(10000.0, -i / 2.0);
        const auto row = table[y * 3 + x];
        EXPECT_NEAR(row[i].item<double>(), std::sin(x * f), 1e-6);
        EXPECT_NEAR(row[2 + i].item<double>(), std::cos(x * f), 1e-6);
        EXPECT_NEAR(row[4 + i].item<double>(), std::sin(y * f), 1e-6);
        EXPECT_NEAR(row[6 + i].item<double>(), std::cos(y * f), 1e-6);
      }
}

TEST(Pool, TakesRealTokensOnly) {
  weft::EncoderOutput out;
  out.tokens = torch::arange(24, torch::kFloat).view({2, 4, 3});
  out.mask = torch::tensor({1, 1, 1, 1, 1, 1, 0, 0}).view({2, 4}).to(torch::kBool);
  const auto row = [&](int b, int n) { return out.tokens[b][n]; };
  EXPECT_TRUE(pool(out, Pooling::cls)[1].equal(row(1, 0)));
  EXPECT_TRUE(pool(out, Pooling::last)[0].equal(row(0, 3)));
  EXPECT_TRUE(pool(out, Pooling::last)[1].equal(row(1, 1)));
  EXPECT_TRUE(pool(out, Pooling::mean)[1].equal((row(1, 0) + row(1, 1)) / 2));
  out.tokens[1][3].fill_(std::nan(""));  // padding may hold anything
  EXPECT_TRUE(pool(out, Pooling::mean)[1].equal((row(1, 0) + row(1, 1)) / 2));
  out.mask = torch::Tensor();
  out.prefix = 1;
  EXPECT_TRUE(pool(out, Pooling::mean)[0].equal((row(0, 1) + row(0, 2) + row(0, 3)) / 3));
  EXPECT_EQ(pool(out, Pooling::cls_mean).sizes(), (std::vector<int64_t>{2, 6}));
  EXPECT_THAT([&] { pool(out, Pooling::encoder); },
              ThrowsMessage<c10::ValueError>(HasSubstr("no pooled vector")));
}

TEST(Pool, SizesFollowTheEncoder) {
  const weft::EncoderInfo info{
      .family = "vit", .hidden_size = 8, .pooled_size = 5, .patch_size = 4};
  EXPECT_EQ(pooled_size(info, Pooling::encoder), 5);
  EXPECT_EQ(pooled_size(info, Pooling::mean), 8);
  EXPECT_THAT([&] { weft::nn::pooled_size(info, Pooling::cls_mean); },
              ThrowsMessage<c10::ValueError>(HasSubstr("without a class token")));
}

TEST(UnitRows, HaveLengthOneInFp32AtLeast) {
  const auto rows = torch::tensor({{3.0, 4.0}, {0.0, 0.0}}, torch::kBFloat16);
  const auto unit = weft::nn::unit_rows(rows);
  EXPECT_TRUE(at::allclose(unit, torch::tensor({{0.6, 0.8}, {0.0, 0.0}})));
  EXPECT_EQ(weft::nn::unit_rows(rows.to(torch::kDouble)).scalar_type(), torch::kDouble);
}

TEST(DropPath, RisesLinearlyOverTheBlocks) {
  const auto stack = [](int64_t layers) {
    return weft::nn::TransformerStack(weft::nn::TransformerStackOptions{
        .block = {.attention = {.hidden_size = 4, .num_heads = 1},
                  .mlp = {.hidden_size = 4, .intermediate_size = 8}},
        .num_layers = layers});
  };
  torch::nn::ModuleList both(stack(3), stack(1));
  EXPECT_EQ(weft::nn::set_drop_path(*both, 0.5), 2);
  const auto rates = [&](size_t i) {
    std::vector<double> out;
    for (const auto& block : both[i]->as<weft::nn::TransformerStackImpl>()->blocks)
      out.push_back(block->options.drop_path);
    return out;
  };
  EXPECT_EQ(rates(0), (std::vector<double>{0, 0.25, 0.5}));
  EXPECT_EQ(rates(1), (std::vector<double>{0}));
  EXPECT_THAT([&] { weft::nn::set_drop_path(*both, 1); },
              testing::ThrowsMessage<c10::ValueError>(testing::HasSubstr("[0, 1), got 1")));
}

TEST(Flops, CountsEachMatrixOnceAToken) {
  const weft::vision::VisionTransformerImpl encoder(
      {.image_size = 16, .patch_size = 4, .hidden_size = 8, .num_layers = 2, .num_heads = 2});
  EXPECT_EQ(weft::nn::input_tokens(encoder.info()), 1 + 16);
  const double patches = 2 * 16 * (3 * 4 * 4) * 8, projections = 2 * 17 * 4 * 8 * 8,
               mlp = 2 * 17 * 2 * 8 * 32, attention = 2 * 2 * 17 * 17 * 8;
  EXPECT_EQ(weft::nn::flops(encoder), patches + 2 * (projections + mlp + attention));
  EXPECT_EQ(weft::nn::input_tokens({.family = "bert", .max_tokens = 64}), 64);
}

}  // namespace nn_tools_test
