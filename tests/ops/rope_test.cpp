#include <cmath>

#include <gmock/gmock.h>

#include <ATen/OpMathType.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/autograd.h>

#include <weft/nn/autocast.hpp>
#include <weft/ops/rope.hpp>

#include "support/devices.hpp"
#include "support/gradcheck.hpp"
#include "support/tensors.hpp"

namespace rope_test {

using at::Tensor;
using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::ops::rope;
using weft::ops::rope_tables;
using weft::ops::RopeLayout;
using weft::test::close;

// The pairs side by side, each turned by its angle.
static Tensor definition(const Tensor& x, const Tensor& angles, RopeLayout layout) {
  const auto pairs = angles.size(-1);
  const auto turned = x.narrow(3, 0, 2 * pairs);
  const auto shape = turned.sizes().vec();
  const auto split = layout == RopeLayout::interleaved
                         ? turned.reshape({shape[0], shape[1], shape[2], pairs, 2})
                         : turned.reshape({shape[0], shape[1], shape[2], 2, pairs}).mT();
  const auto a = split.select(4, 0), b = split.select(4, 1);
  const auto cos = angles.cos().unsqueeze(1), sin = angles.sin().unsqueeze(1);
  const auto out = at::stack({a * cos - b * sin, a * sin + b * cos}, 4);
  const auto joined = layout == RopeLayout::interleaved ? out.flatten(3) : out.mT().reshape(shape);
  return at::cat({joined, x.slice(3, 2 * pairs)}, 3);
}

struct Case {
  int64_t batch, heads, tokens, width, pairs, tables;
};
static const std::vector<Case> kCases = {
    {2, 3, 5, 8, 4, 1},   {2, 3, 5, 8, 4, 2},      {1, 1, 1, 2, 1, 1},  {2, 4, 9, 64, 32, 2},
    {3, 2, 7, 96, 16, 3}, {1, 5, 6, 80, 40, 1},    {2, 2, 3, 7, 2, 1},  {2, 2, 4, 20, 5, 2},
    {1, 2, 3, 66, 33, 1}, {2, 2, 300, 128, 64, 1}, {1, 2, 3, 16, 0, 1}, {1, 0, 3, 16, 8, 1}};

static Tensor angles_of(const Case& c) {
  return 20 * at::rand({c.tables, c.tokens, c.pairs}, at::kDouble);
}

// The same [B, H, T, D] in several layouts of memory.
static std::vector<Tensor> layouts_of(const Tensor& x) {
  const auto wide = at::zeros({x.size(0), x.size(2), x.size(1), x.size(3) + 3}, x.options());
  const auto part = wide.narrow(3, 2, x.size(3)).transpose(1, 2);  // of a fused projection, say
  part.copy_(x);
  return {x, x.transpose(1, 2).contiguous().transpose(1, 2), part,
          x.transpose(2, 3).contiguous().transpose(2, 3)};
}

class Rope : public testing::TestWithParam<at::Device> {};
INSTANTIATE_TEST_SUITE_P(, Rope, testing::ValuesIn(weft::test::devices()), weft::test::device_name);

TEST_P(Rope, IsTheDefinitionWithGradientsForEveryLayout) {
  torch::manual_seed(0);
  for (const auto& c : kCases) {
    const auto angles = angles_of(c).to(GetParam());
    const auto exact = at::randn({c.batch, c.heads, c.tokens, c.width}, at::kDouble).to(GetParam());
    for (const auto layout : {RopeLayout::half, RopeLayout::interleaved}) {
      for (const auto dtype : {at::kDouble, at::kFloat, at::kBFloat16, at::kHalf}) {
        SCOPED_TRACE(testing::Message() << c.width << ' ' << c.pairs << ' ' << dtype);
        const double tolerance = dtype == at::kDouble     ? 1e-14
                                 : dtype == at::kFloat    ? 1e-6
                                 : dtype == at::kBFloat16 ? 4e-3
                                                          : 5e-4;
        const auto rounded = exact.to(dtype), above = at::randn_like(rounded);
        const auto real = at::toOpMathType(dtype);
        const auto leaf = rounded.to(at::kDouble).requires_grad_(true);
        const auto expected = definition(leaf, angles, layout);
        const auto wanted = torch::autograd::grad({expected}, {leaf}, {above.to(at::kDouble)})[0];
        for (const auto& x : layouts_of(rounded)) {
          const auto mine = x.detach().requires_grad_(true);
          const auto out = rope(mine, angles.cos().to(real), angles.sin().to(real), layout);
          EXPECT_EQ(out.scalar_type(), dtype);
          EXPECT_TRUE(close(out, expected, tolerance));
          EXPECT_TRUE(close(torch::autograd::grad({out}, {mine}, {above})[0], wanted, tolerance));
        }
      }
    }
  }
}

TEST(RopeOp, KeepsDenseStrides) {
  const auto x = at::randn({2, 5, 3, 8}).transpose(1, 2);
  const auto angles = at::rand({1, 5, 4});
  EXPECT_EQ(rope(x, angles.cos(), angles.sin()).strides(), x.strides());
}

TEST(RopeOp, HalfPrecisionIsRoundedOnce) {
  torch::manual_seed(1);
  const auto x = at::randn({2, 3, 50, 64}).to(at::kBFloat16);
  const auto angles = 20 * at::rand({1, 50, 32});
  const auto exact = definition(x.to(at::kDouble), angles.to(at::kDouble), RopeLayout::half);
  const auto error = (rope(x, angles.cos(), angles.sin()).to(at::kDouble) - exact).abs();
  EXPECT_TRUE(
      (error <= exact.abs() / 256 + 2e-6).all().item<bool>());  // half of the last of 8 bits
}

TEST(RopeOp, GradientsOfGradientsAreFiniteDifferences) {
  torch::manual_seed(2);
  const auto x = at::randn({2, 2, 3, 6}, at::kDouble).requires_grad_(true);
  const auto angles = at::rand({2, 3, 2}, at::kDouble);
  const auto twice = [&](const std::vector<Tensor>& v) {
    const at::AutoGradMode even_for_numeric_differences(true);
    const auto y = rope(v[0], angles.cos(), angles.sin(), RopeLayout::interleaved);
    return torch::autograd::grad({y.pow(3).sum()}, {v[0]}, {}, std::nullopt, true)[0];
  };
  EXPECT_TRUE(weft::test::gradcheck(twice, {x}));
}

// Rotated back it is what it was; lengths stay; scores depend on distances alone.
TEST(RopeOp, IsARotation) {
  torch::manual_seed(3);
  const auto inv_freq = at::pow(100.0, -at::arange(4, at::kDouble) / 4);
  const auto tables = rope_tables(at::arange(6).unsqueeze(0), inv_freq, {.dtype = at::kDouble});
  const auto later = rope_tables(at::arange(6).unsqueeze(0) + 11, inv_freq);
  const auto q = at::randn({1, 1, 6, 8}, at::kDouble), k = at::randn({1, 1, 6, 8}, at::kDouble);
  for (const auto layout : {RopeLayout::half, RopeLayout::interleaved}) {
    const auto a = rope(q, tables.cos, tables.sin, layout),
               b = rope(k, tables.cos, tables.sin, layout);
    EXPECT_TRUE(close(rope(a, tables.cos, -tables.sin, layout), q, 1e-6));
    EXPECT_TRUE(close(a.norm(2, {3}), q.norm(2, {3}), 1e-6));
    EXPECT_TRUE(close(
        rope(q, later.cos, later.sin, layout).matmul(rope(k, later.cos, later.sin, layout).mT()),
        a.matmul(b.mT()), 1e-5));
  }
}

TEST(RopeOp, MetaGivesShapesAndGradients) {
  const auto options = at::TensorOptions().device(at::kMeta);
  const auto x = at::empty({2, 5, 3, 8}, options).transpose(1, 2).requires_grad_(true);
  const auto table = at::empty({1, 5, 4}, options);
  const auto out = rope(x, table, table);
  EXPECT_TRUE(out.is_meta());
  EXPECT_EQ(out.strides(), x.strides());
  EXPECT_EQ(torch::autograd::grad({out.sum()}, {x})[0].sizes(), x.sizes());
}

// A backend without kernels of its own runs the composite reference.
TEST(RopeOp, TheFallbackOfOtherBackendsIsTheDefinition) {
  torch::manual_seed(4);
  const auto op = c10::Dispatcher::singleton()
                      .findSchemaOrThrow("weft::_rope", "")
                      .typed<Tensor(const Tensor&, const Tensor&, const Tensor&, bool, bool)>();
  for (const auto& c : kCases) {
    const auto angles = angles_of(c);
    const auto exact = at::randn({c.batch, c.heads, c.tokens, c.width}, at::kDouble);
    for (const bool inverse : {false, true}) {
      for (const bool interleaved : {false, true}) {
        const auto expected = definition(exact, inverse ? -angles : angles,
                                         interleaved ? RopeLayout::interleaved : RopeLayout::half);
        for (const auto& x : layouts_of(exact))
          EXPECT_TRUE(close(op.redispatch(c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), x,
                                          angles.cos(), angles.sin(), interleaved, inverse),
                            expected, 1e-14));
      }
    }
  }
}

TEST(RopeTables, AreTheAnglesOfEachAxis) {
  const auto inv_freq = at::pow(10000.0, -at::arange(8, at::kFloat) / 8);
  const auto positions = at::stack({at::arange(5), at::arange(5) * 2, at::arange(5) * 7 + 1})
                             .unsqueeze(1);  // [3, 1, 5]
  const auto plain = rope_tables(positions[1], inv_freq);
  EXPECT_EQ(plain.cos.sizes(), (at::IntArrayRef{1, 5, 8}));
  for (int64_t t = 0; t < 5; ++t)
    for (int64_t i = 0; i < 8; ++i)
      EXPECT_NEAR(plain.sin[0][t][i].item<double>(), std::sin(2 * t * std::pow(10000.0, -i / 8.0)),
                  1e-6);

  const auto of_axes = [&](const std::vector<int64_t>& axes, const weft::ops::RopeTables& got) {
    for (int64_t i = 0; i < 8; ++i) {
      const auto one = rope_tables(positions[axes[static_cast<size_t>(i)]], inv_freq);
      EXPECT_TRUE(at::equal(got.cos.select(2, i), one.cos.select(2, i))) << i;
      EXPECT_TRUE(at::equal(got.sin.select(2, i), one.sin.select(2, i))) << i;
    }
  };
  of_axes({0, 0, 1, 1, 1, 2, 2, 2}, rope_tables(positions, inv_freq, {.sections = {2, 3, 3}}));
  of_axes({0, 1, 2, 0, 1, 2, 0, 0},
          rope_tables(positions, inv_freq, {.sections = {4, 2, 2}, .alternate = true}));
  of_axes({1, 1, 1, 1, 1, 1, 1, 1},
          rope_tables(positions[1], inv_freq, {.sections = {2, 3, 3}}));  // text: one position

  const auto scaled = rope_tables(positions[1], inv_freq, {.scale = 1.5, .dtype = at::kBFloat16});
  EXPECT_TRUE(at::equal(scaled.cos, (plain.cos * 1.5).to(at::kBFloat16)));
}

TEST(RopeErrors, NameRuleAndValues) {
  const auto x = at::ones({2, 3, 5, 8}), table = at::ones({1, 5, 4});
  const auto refuse = [](const Tensor& a, const Tensor& b, const Tensor& c) {
    return [=] { rope(a, b, c); };
  };
  const auto says = [](const char* text) {
    return ThrowsMessage<c10::ValueError>(HasSubstr(text));
  };
  EXPECT_THAT(refuse(x[0], table, table), says("rope: x must be [B, H, T, D], got [3, 5, 8]"));
  EXPECT_THAT(refuse(x, at::ones({3, 5, 4}), at::ones({3, 5, 4})),
              says("must be [1, T, R / 2] or [B, T, R / 2], got [3, 5, 4] and [3, 5, 4] for x "));
  EXPECT_THAT(refuse(x, table, at::ones({1, 5, 3})), says("got [1, 5, 4] and [1, 5, 3]"));
  EXPECT_THAT(refuse(x, at::ones({1, 5, 5}), at::ones({1, 5, 5})),
              says("tables of 5 pairs rotate 10 elements, but a head has 8"));
  EXPECT_THAT(refuse(x.to(at::kLong), table, table), says("must be floating, got Long"));
  const auto positions = at::zeros({3, 1, 5}), inv_freq = at::ones({4});
  EXPECT_THAT(
      [&] {
        rope_tables(positions, inv_freq, {.sections = {2, 3, 3}});
      },
      says("sections add up to 8, but inv_freq has 4 frequencies"));
  EXPECT_THAT([&] { rope_tables(positions, inv_freq); },
              says("positions of 1 axes are needed, got [3, 1, 5]"));
}

}  // namespace rope_test
