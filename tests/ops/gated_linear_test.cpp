#include <cmath>
#include <limits>

#include <gmock/gmock.h>

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/autograd.h>

#include <weft/nn/autocast.hpp>
#include <weft/ops/gated_linear.hpp>

#include "support/devices.hpp"
#include "support/gradcheck.hpp"
#include "support/tensors.hpp"

namespace gated_linear_test {

using at::Tensor;
using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::ops::GateActivation;
using weft::ops::gated_linear;
using weft::test::close;

static const std::vector<GateActivation> kActivations = {GateActivation::silu, GateActivation::gelu,
                                                         GateActivation::gelu_tanh};

static Tensor activated(const Tensor& x, GateActivation activation) {
  switch (activation) {
    case GateActivation::silu:
      return x / (1 + (-x).exp());
    case GateActivation::gelu:
      return 0.5 * x * (1 + (x / std::sqrt(2.0)).erf());
    case GateActivation::gelu_tanh:
      break;
  }
  return 0.5 * x * (1 + (std::sqrt(2 / M_PI) * (x + 0.044715 * x.pow(3))).tanh());
}

struct Inputs {
  Tensor gate, up, weight, bias;  // the last may be undefined
  std::vector<Tensor> all() const {
    std::vector<Tensor> out = {gate, up, weight};
    if (bias.defined()) out.push_back(bias);
    return out;
  }
  Inputs to(at::ScalarType dtype, at::Device device = at::kCPU) const {  // fresh leaves
    const auto leaf = [&](const Tensor& t) {
      if (!t.defined()) return t;
      return t.detach().to(device, dtype, false, /*copy=*/true).requires_grad_(true);
    };
    return {leaf(gate), leaf(up), leaf(weight), leaf(bias)};
  }
};

// Gates far on both sides of 0, too.
static Inputs inputs_of(int64_t rows, int64_t width, int64_t out, bool biased) {
  return {3 * at::randn({rows, width}, at::kDouble), at::randn({rows, width}, at::kDouble),
          at::randn({out, width}, at::kDouble) / std::sqrt(static_cast<double>(width)),
          biased ? at::randn({out}, at::kDouble) : Tensor()};
}

static Tensor definition(const Inputs& in, GateActivation activation) {
  const auto out = (activated(in.gate, activation) * in.up).matmul(in.weight.t());
  return in.bias.defined() ? out + in.bias : out;
}

static Tensor ours(const Inputs& in, GateActivation activation) {
  return gated_linear(in.gate, in.up, in.weight, in.bias, activation);
}

// Of a sum that cancels, where there are few of them.
constexpr double kFloor = 0.5;

static void expect_definition(const Inputs& exact, GateActivation activation, at::ScalarType dtype,
                              at::Device device, double forward, double backward) {
  const auto a = exact.to(dtype, device);
  const auto b = a.to(at::kDouble);  // of the rounded numbers
  const auto out = ours(a, activation), expected = definition(b, activation);
  EXPECT_EQ(out.scalar_type(), dtype);
  EXPECT_TRUE(close(out.cpu(), expected, forward, kFloor));
  const auto above = at::randn(expected.sizes(), at::kDouble).to(dtype);
  const auto got = torch::autograd::grad({out}, a.all(), {above.to(device)});
  const auto wanted = torch::autograd::grad({expected}, b.all(), {above.to(at::kDouble)});
  for (size_t i = 0; i < wanted.size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_EQ(got[i].scalar_type(), dtype);
    EXPECT_TRUE(close(got[i].cpu(), wanted[i], backward, kFloor));
  }
}

class GatedLinear : public testing::TestWithParam<at::Device> {};
INSTANTIATE_TEST_SUITE_P(, GatedLinear, testing::ValuesIn(weft::test::devices()),
                         weft::test::device_name);

// Odd sizes, either side of a loop's block of 512 elements, and no rows at all.
TEST_P(GatedLinear, IsTheDefinitionWithGradients) {
  torch::manual_seed(0);
  for (const auto& [rows, width, out] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{
           {1, 1, 1}, {3, 7, 5}, {1, 511, 2}, {1, 513, 3}, {2, 512, 4}, {40, 100, 33}, {0, 8, 4}}) {
    for (const bool biased : {false, true}) {
      const auto in = inputs_of(rows, width, out, biased);
      for (const auto activation : kActivations) {
        SCOPED_TRACE(testing::Message() << rows << " x " << width << " -> " << out << ", "
                                        << static_cast<int>(activation) << ' ' << biased);
        expect_definition(in, activation, at::kDouble, GetParam(), 1e-13, 1e-12);
        expect_definition(in, activation, at::kFloat, GetParam(), 1e-5, 1e-5);
      }
    }
  }
}

TEST_P(GatedLinear, HalfPrecisionIsAsNearAsItsProducts) {
  torch::manual_seed(1);
  const auto in = inputs_of(50, 96, 40, true);
  for (const auto activation : kActivations) {
    SCOPED_TRACE(static_cast<int>(activation));
    expect_definition(in, activation, at::kBFloat16, GetParam(), 1e-2, 2e-2);
    expect_definition(in, activation, at::kHalf, GetParam(), 4e-3, 8e-3);
  }
}

// Large enough that several threads share the pass.
TEST_P(GatedLinear, LargeInputsAreSharedAmongThreads) {
  torch::manual_seed(2);
  const auto in = inputs_of(301, 333, 7, true);
  for (const auto activation : kActivations)
    expect_definition(in, activation, at::kFloat, GetParam(), 1e-5, 1e-5);
}

using GatedOp = Tensor(const Tensor&, const Tensor&, int64_t);
using GatedBackwardOp = std::tuple<Tensor, Tensor, Tensor>(const Tensor&, const Tensor&,
                                                           const Tensor&, int64_t,
                                                           std::array<bool, 3>);

static auto gated_op() {
  return c10::Dispatcher::singleton().findSchemaOrThrow("weft::_gated", "").typed<GatedOp>();
}
static auto gated_backward_op() {
  return c10::Dispatcher::singleton()
      .findSchemaOrThrow("weft::_gated_backward", "")
      .typed<GatedBackwardOp>();
}

TEST_P(GatedLinear, HalfPrecisionIsRoundedOnce) {
  torch::manual_seed(3);
  const auto gate = (3 * at::randn({50, 37})).to(at::kBFloat16);
  const auto up = at::randn({50, 37}).to(at::kBFloat16);
  const auto grad = at::randn({50, 37}).to(at::kBFloat16);
  for (const auto activation : kActivations) {
    const auto g = gate.to(at::kDouble).requires_grad_(true);
    const auto u = up.to(at::kDouble).requires_grad_(true);
    const auto product = activated(g, activation) * u;
    const auto wanted = torch::autograd::grad({product}, {g, u}, {grad.to(at::kDouble)});
    const auto code = static_cast<int64_t>(activation);
    const auto [again, gate_grad, up_grad] = gated_backward_op().call(
        grad.to(GetParam()), gate.to(GetParam()), up.to(GetParam()), code, {true, true, true});
    const auto is_rounded = [](const Tensor& got, const Tensor& exact) {
      const auto error = (got.cpu().to(at::kDouble) - exact).abs();
      return (error <= exact.abs() / 256 + 2e-6).all().item<bool>();  // half of the last of 8 bits
    };
    EXPECT_TRUE(is_rounded(again, product.detach()));
    EXPECT_TRUE(is_rounded(gate_grad, wanted[0]));
    EXPECT_TRUE(is_rounded(up_grad, wanted[1]));
    EXPECT_TRUE(is_rounded(gated_op().call(gate.to(GetParam()), up.to(GetParam()), code),
                           product.detach()));
  }
}

TEST_P(GatedLinear, HoldsFarFromZero) {
  const auto nan = std::numeric_limits<double>::quiet_NaN();
  const auto x = at::cat({at::linspace(-200, 200, 4001, at::kDouble),
                          at::tensor({-1e6, 1e6, 0.0, -0.0, nan}, at::kDouble)});
  for (const auto activation : kActivations) {
    const auto leaf = x.clone().requires_grad_(true);
    // The slope of x / (1 + exp(-x)) is NaN where the exponential overflows.
    const auto value =
        activation == GateActivation::silu ? leaf * leaf.sigmoid() : activated(leaf, activation);
    const auto slope = torch::autograd::grad({value.sum()}, {leaf})[0];
    const auto gate = x.to(GetParam(), at::kFloat), ones = at::ones_like(gate);
    const auto [got, got_slope, got_up] = gated_backward_op().call(
        ones, gate, ones, static_cast<int64_t>(activation), {true, true, true});
    EXPECT_TRUE(at::allclose(got.cpu().to(at::kDouble), value.detach(), 2e-6, 1e-6, true));
    EXPECT_TRUE(at::allclose(got_slope.cpu().to(at::kDouble), slope, 2e-6, 2e-6, true));
    EXPECT_TRUE(at::equal(got.nan_to_num(7), got_up.nan_to_num(7)));
  }
}

TEST_P(GatedLinear, OnlyTheGradientsThatAreWanted) {
  torch::manual_seed(4);
  const auto exact = inputs_of(9, 12, 5, true);
  for (const auto activation : kActivations) {
    for (int which = 1; which < 16; ++which) {
      SCOPED_TRACE(testing::Message() << static_cast<int>(activation) << ' ' << which);
      const auto a = exact.to(at::kDouble, GetParam()), b = exact.to(at::kDouble);
      std::vector<Tensor> mine, theirs;
      for (size_t i = 0; i < 4; ++i) {
        const bool wanted = ((which >> i) & 1) != 0;
        a.all()[i].set_requires_grad(wanted);
        b.all()[i].set_requires_grad(wanted);
        if (wanted) mine.push_back(a.all()[i]), theirs.push_back(b.all()[i]);
      }
      const auto got = torch::autograd::grad({ours(a, activation).square().sum()}, mine);
      const auto wanted = torch::autograd::grad({definition(b, activation).square().sum()}, theirs);
      for (size_t i = 0; i < wanted.size(); ++i) EXPECT_TRUE(close(got[i].cpu(), wanted[i], 1e-12));
    }
  }
}

// All inputs have a gradient, but some are asked for one at a time.
TEST_P(GatedLinear, GradientsThatAreAskedForOneAtATime) {
  torch::manual_seed(5);
  const auto exact = inputs_of(6, 10, 3, true);
  const auto a = exact.to(at::kDouble, GetParam()), b = exact.to(at::kDouble);
  const auto mine = ours(a, GateActivation::silu).sum();
  const auto theirs = definition(b, GateActivation::silu).sum();
  for (size_t i = 0; i < 4; ++i)
    EXPECT_TRUE(close(torch::autograd::grad({mine}, {a.all()[i]}, {}, true)[0].cpu(),
                      torch::autograd::grad({theirs}, {b.all()[i]}, {}, true)[0], 1e-12));
}

TEST(GatedLinearOp, WithoutGradientsItIsTheSame) {
  torch::manual_seed(6);
  const auto in = inputs_of(9, 12, 5, true).to(at::kFloat);
  const auto expected = ours(in, GateActivation::silu);
  EXPECT_TRUE(expected.requires_grad());
  const at::NoGradGuard no_grad;
  const auto got = ours(in, GateActivation::silu);
  EXPECT_FALSE(got.requires_grad());
  EXPECT_TRUE(at::equal(got, expected));
}

TEST(GatedLinearOp, GradientsAreFiniteDifferences) {
  torch::manual_seed(7);
  for (const auto activation : kActivations) {
    const auto in = inputs_of(3, 4, 2, true).to(at::kDouble);
    const auto f = [&](const std::vector<Tensor>& v) {
      return gated_linear(v[0], v[1], v[2], v[3], activation);
    };
    EXPECT_TRUE(weft::test::gradcheck(f, in.all()));
  }
}

TEST(GatedLinearOp, GradientsOfGradientsAreFiniteDifferences) {
  torch::manual_seed(8);
  for (const auto activation : kActivations) {
    const auto in = inputs_of(3, 4, 2, true).to(at::kDouble);
    const auto twice = [&](const std::vector<Tensor>& v) {
      const at::AutoGradMode even_for_numeric_differences(true);
      const auto y = gated_linear(v[0], v[1], v[2], v[3], activation);
      std::vector<Tensor> flat;
      for (const auto& g :
           torch::autograd::grad({y.pow(3).sum()}, v, {}, std::nullopt, /*create_graph=*/true))
        flat.push_back(g.flatten());
      return at::cat(flat);
    };
    EXPECT_TRUE(weft::test::gradcheck(twice, in.all(), 2e-5, 1e-5));
  }
}

// What is kept is known by version: a change in place before backward must not go unseen.
TEST(GatedLinearOp, KeepsGateUpAndWeight) {
  for (const size_t changed : {0, 1, 2}) {
    const auto leaves = inputs_of(4, 6, 3, false).to(at::kDouble);
    const Inputs in = {leaves.gate * 1, leaves.up * 1, leaves.weight * 1, Tensor()};
    const auto out = ours(in, GateActivation::silu).sum();
    in.all()[changed].detach().mul_(2);
    EXPECT_THAT([&] { out.backward(); },
                ThrowsMessage<c10::Error>(HasSubstr("modified by an inplace operation")));
  }
}

TEST_P(GatedLinear, AutocastCastsAllOfIt) {
  torch::manual_seed(9);
  const auto in = inputs_of(64, 32, 10, true).to(at::kFloat, GetParam());
  const auto low = in.to(at::kBFloat16, GetParam());
  const auto expected = ours(low, GateActivation::silu);
  const auto above = at::randn_like(expected);
  const auto wanted = torch::autograd::grad({expected}, low.all(), {above}, true);
  {
    const weft::nn::AutocastGuard autocast(GetParam().type(), at::kBFloat16);
    const auto out = ours(in, GateActivation::silu);
    EXPECT_EQ(out.scalar_type(), at::kBFloat16);
    EXPECT_TRUE(at::equal(out, expected));
    const auto got = torch::autograd::grad({out}, in.all(), {above});  // inside the region, too
    for (size_t i = 0; i < wanted.size(); ++i) {
      EXPECT_EQ(got[i].scalar_type(), at::kFloat);
      EXPECT_TRUE(close(got[i], wanted[i], 1e-6));
    }
    // Layers may differ in dtype there.
    EXPECT_TRUE(at::equal(gated_linear(low.gate, in.up, in.weight, low.bias), expected));
  }
  // What was computed in fp32 has its gradients in fp32, wherever they are asked for.
  const auto full = ours(in, GateActivation::silu);
  const auto plain = torch::autograd::grad({full}, in.all(), {above.to(at::kFloat)}, true);
  const weft::nn::AutocastGuard autocast(GetParam().type(), at::kBFloat16);
  const auto inside = torch::autograd::grad({full}, in.all(), {above.to(at::kFloat)});
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_TRUE(at::equal(inside[i], plain[i]));
}

TEST_P(GatedLinear, TakesAnyStridesAndLeadingDimensions) {
  torch::manual_seed(10);
  const auto x = at::randn({2, 3, 5, 22}, at::kDouble).to(GetParam());
  const auto weight = at::randn({4, 11}, at::kDouble).to(GetParam());
  const auto parts = x.chunk(2, 3);  // of a fused projection
  const auto expect = [&](const Tensor& gate_in, const Tensor& up_in, const Tensor& weight_in) {
    const auto leaf = [](const Tensor& t) { return t.detach().requires_grad_(true); };
    const Inputs a = {leaf(gate_in), leaf(up_in), leaf(weight_in), Tensor()};
    const auto b = a.to(at::kDouble);
    const auto out = ours(a, GateActivation::gelu_tanh);
    const auto expected = definition(b, GateActivation::gelu_tanh);
    EXPECT_TRUE(close(out.cpu(), expected, 1e-13));
    const auto got = torch::autograd::grad({out.pow(2).sum()}, a.all());
    const auto wanted = torch::autograd::grad({expected.pow(2).sum()}, b.all());
    for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(close(got[i].cpu(), wanted[i], 1e-12));
  };
  expect(parts[0], parts[1], weight);
  expect(parts[0].transpose(0, 2), parts[1].transpose(0, 2).contiguous(), weight);
  expect(parts[0][0][0], parts[1][0][0], weight.t().contiguous().t());
  expect(parts[0][0][0][0], parts[1][0][0][0], weight);
  expect(parts[0].narrow(0, 0, 1).expand({4, 3, 5, 11}), parts[1].repeat({2, 1, 1, 1}), weight);
  EXPECT_EQ(gated_linear(parts[0], parts[1], weight).sizes(), (at::IntArrayRef{2, 3, 5, 4}));
  EXPECT_EQ(gated_linear(parts[0][0][0][0], parts[1][0][0][0], weight).sizes(),
            (at::IntArrayRef{4}));
}

TEST(GatedLinearOp, MetaGivesShapesAndGradients) {
  const auto options = at::TensorOptions().device(at::kMeta);
  const auto gate = at::empty({2, 3, 6}, options).requires_grad_(true);
  const auto up = at::empty({2, 3, 6}, options).requires_grad_(true);
  const auto weight = at::empty({5, 6}, options).requires_grad_(true);
  const auto out = gated_linear(gate, up, weight);
  EXPECT_TRUE(out.is_meta());
  EXPECT_EQ(out.sizes(), (at::IntArrayRef{2, 3, 5}));
  const auto grads = torch::autograd::grad({out.sum()}, {gate, up, weight});
  EXPECT_EQ(grads[0].sizes(), gate.sizes());
  EXPECT_EQ(grads[1].sizes(), up.sizes());
  EXPECT_EQ(grads[2].sizes(), weight.sizes());
}

// A backend without kernels of its own runs the composite reference.
TEST(GatedLinearOp, TheFallbackOfOtherBackendsIsTheDefinition) {
  torch::manual_seed(11);
  const c10::DispatchKeySet other(c10::DispatchKey::PrivateUse1);
  const auto in = inputs_of(9, 13, 1, false).to(at::kDouble);
  const auto grad = at::randn({9, 13}, at::kDouble);
  for (const auto activation : kActivations) {
    const auto code = static_cast<int64_t>(activation);
    const auto product = activated(in.gate, activation) * in.up;
    const auto wanted = torch::autograd::grad({product}, {in.gate, in.up}, {grad});
    const at::NoGradGuard no_grad;
    EXPECT_TRUE(close(gated_op().redispatch(other, in.gate, in.up, code), product, 1e-14));
    for (int which = 0; which < 8; ++which) {
      const std::array<bool, 3> asked = {(which & 1) != 0, (which & 2) != 0, (which & 4) != 0};
      const auto [again, gate_grad, up_grad] =
          gated_backward_op().redispatch(other, grad, in.gate, in.up, code, asked);
      const auto agrees = [](bool is_asked, const Tensor& got, const Tensor& exact) {
        return is_asked ? bool(close(got, exact, 1e-13)) : got.numel() == 0;
      };
      EXPECT_TRUE(agrees(asked[0], again, product));
      EXPECT_TRUE(agrees(asked[1], gate_grad, wanted[0]));
      EXPECT_TRUE(agrees(asked[2], up_grad, wanted[1]));
    }
  }
}

TEST(GatedLinearErrors, NameRuleAndValues) {
  const auto gate = at::ones({2, 6}), weight = at::ones({3, 6});
  const auto refuse = [](const Tensor& g, const Tensor& u, const Tensor& w, const Tensor& b = {}) {
    return [=] { gated_linear(g, u, w, b); };
  };
  const auto says = [](const char* text) {
    return ThrowsMessage<c10::ValueError>(HasSubstr(text));
  };
  EXPECT_THAT(refuse(gate, at::ones({3, 6}), weight),
              says("gated_linear: gate and up must both be [..., I], got [2, 6] and [3, 6]"));
  EXPECT_THAT(refuse(at::ones({}), at::ones({}), weight), says("got [] and []"));
  EXPECT_THAT(refuse(gate, gate, at::ones({6, 3})), says("weight must be [O, 6], got [6, 3]"));
  EXPECT_THAT(refuse(gate, gate, weight, at::ones({6})), says("bias must be [3], got [6]"));
  EXPECT_THAT(refuse(gate.to(at::kLong), gate, weight), says("must be floating, got Long"));
  EXPECT_THAT(refuse(gate, gate.to(at::kDouble), weight),
              says("must have one dtype, got Float, Double, Float and Float"));
  EXPECT_THAT(refuse(gate, gate, weight.to(at::kMeta)), says("must be on one device, got cpu"));
}

}  // namespace gated_linear_test
