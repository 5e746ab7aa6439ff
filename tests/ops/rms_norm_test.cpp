#include <gmock/gmock.h>

#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/autograd.h>

#include <weft/nn/autocast.hpp>
#include <weft/ops/rms_norm.hpp>

#include "support/devices.hpp"
#include "support/gradcheck.hpp"
#include "support/tensors.hpp"

namespace rms_norm_test {

using at::Tensor;
using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::ops::rms_norm;
using weft::test::close;

static Tensor definition(const Tensor& x, const Tensor& weight, double eps) {
  const auto normed = x / (x.pow(2).mean(-1, true) + eps).sqrt();
  return weight.defined() ? normed * weight : normed;
}

// Rows of memory, rows of several heads, and rows that are no rows of memory.
static std::vector<Tensor> layouts_of(const Tensor& x) {
  const auto wide = at::zeros({x.size(0), x.size(1), x.size(2), x.size(3) + 3}, x.options());
  const auto part = wide.narrow(3, 2, x.size(3));
  part.copy_(x);
  return {x, x.transpose(1, 2).contiguous().transpose(1, 2), part,
          x.transpose(2, 3).contiguous().transpose(2, 3)};
}

class RmsNorm : public testing::TestWithParam<at::Device> {};
INSTANTIATE_TEST_SUITE_P(, RmsNorm, testing::ValuesIn(weft::test::devices()),
                         weft::test::device_name);

TEST_P(RmsNorm, IsTheDefinitionWithGradientsForEveryLayoutAndType) {
  torch::manual_seed(0);
  for (const auto& shape : std::vector<std::vector<int64_t>>{
           {2, 3, 5, 8}, {1, 1, 1, 2}, {3, 2, 70, 33}, {1, 1, 2, 576}, {2, 0, 3, 4}}) {
    const auto exact = at::randn(shape, at::kDouble).to(GetParam());
    const auto gain = at::rand({shape.back()}, at::kDouble).to(GetParam());
    for (const auto dtype : {at::kDouble, at::kFloat, at::kBFloat16, at::kHalf}) {
      for (const bool wide : {false, true}) {  // the weight in fp32, as under autocast
        const auto type = wide && dtype != at::kDouble ? at::kFloat : dtype;
        SCOPED_TRACE(testing::Message() << shape.back() << ' ' << dtype << ' ' << type);
        const double tolerance = type == at::kDouble   ? 1e-13
                                 : dtype == at::kFloat ? 1e-5
                                 : dtype == at::kHalf  ? 2e-3
                                                       : 1.6e-2;
        const auto rounded = exact.to(dtype);
        const auto x64 = rounded.to(at::kDouble).requires_grad_(true);
        const auto w64 = gain.to(type).to(at::kDouble).requires_grad_(true);
        const auto expected = definition(x64, w64, 1e-5);
        const auto above = at::randn(shape, at::kDouble).to(GetParam()).to(type);
        const auto wanted = torch::autograd::grad({expected}, {x64, w64}, {above.to(at::kDouble)});
        for (const auto& one : layouts_of(rounded)) {
          const auto x = one.detach().requires_grad_(true);
          const auto weight = gain.to(type).requires_grad_(true);
          const auto out = rms_norm(x, weight, 1e-5);
          EXPECT_EQ(out.scalar_type(), type);
          EXPECT_TRUE(close(out, expected, tolerance));
          const auto grads = torch::autograd::grad({out}, {x, weight}, {above});
          EXPECT_EQ(grads[0].scalar_type(), dtype);
          EXPECT_EQ(grads[1].scalar_type(), type);
          EXPECT_TRUE(close(grads[0], wanted[0], tolerance));
          EXPECT_TRUE(close(grads[1], wanted[1], tolerance));
        }
      }
    }
  }
}

TEST_P(RmsNorm, IsTheSameUnderAutocast) {
  torch::manual_seed(5);
  const auto data = at::randn({2, 9, 40}).to(GetParam()), gain = at::rand(40).to(GetParam());
  const auto above = at::randn_like(data);
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const auto results = [&] {
      const auto x = data.to(dtype).detach().requires_grad_(true);
      const auto weight = gain.clone().requires_grad_(true);
      const auto out = rms_norm(x, weight);
      auto found = torch::autograd::grad({out}, {x, weight}, {above});
      found.push_back(out.detach());
      return found;
    };
    const auto expected = results();
    const weft::nn::AutocastGuard autocast(GetParam().type(), at::kBFloat16);
    const auto found = results();
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i].scalar_type(), expected[i].scalar_type());
      EXPECT_TRUE(at::equal(found[i], expected[i])) << i;
    }
  }
}

TEST(RmsNormOp, GradientsComeForWhatWantsThem) {
  torch::manual_seed(1);
  const auto data = at::randn({6, 10}, at::kDouble), gain = at::rand({10}, at::kDouble);
  const auto above = at::randn({6, 10}, at::kDouble);
  const auto x = data.clone().requires_grad_(true), weight = gain.clone().requires_grad_(true);
  const auto both = torch::autograd::grad({rms_norm(x, weight)}, {x, weight}, {above});
  EXPECT_TRUE(at::equal(torch::autograd::grad({rms_norm(x, gain)}, {x}, {above})[0], both[0]));
  EXPECT_TRUE(
      at::equal(torch::autograd::grad({rms_norm(data, weight)}, {weight}, {above})[0], both[1]));
  const auto plain = rms_norm(x, Tensor());
  EXPECT_TRUE(close(plain, definition(data, {}, 1e-6), 1e-13));
  const auto ones = at::ones({10}, at::kDouble);
  EXPECT_TRUE(close(torch::autograd::grad({plain}, {x}, {above})[0],
                    torch::autograd::grad({definition(x, ones, 1e-6)}, {x}, {above})[0], 1e-12));
  EXPECT_FALSE(rms_norm(data, gain).requires_grad());
}

TEST(RmsNormOp, GradientsOfGradientsAreFiniteDifferences) {
  torch::manual_seed(2);
  const auto x = at::randn({3, 5}, at::kDouble).requires_grad_(true);
  const auto weight = at::rand({5}, at::kDouble).requires_grad_(true);
  const auto twice = [&](const std::vector<Tensor>& v) {
    const at::AutoGradMode even_for_numeric_differences(true);
    const auto y = rms_norm(v[0], v[1], 0.1);
    const auto first =
        torch::autograd::grad({y.pow(3).sum()}, {v[0], v[1]}, {}, std::nullopt, true);
    return at::cat({first[0].flatten(), first[1]});
  };
  EXPECT_TRUE(weft::test::gradcheck(twice, {x, weight}));
}

TEST(RmsNormOp, RowsOfOneElementAreItsSign) {
  const auto x = at::tensor({-3.0, 2.0}, at::kDouble).view({2, 1}).requires_grad_(true);
  const auto out = rms_norm(x, at::full(1, 2.0, at::kDouble), 0);
  EXPECT_TRUE(close(out, at::tensor({-2.0, 2.0}, at::kDouble).view({2, 1}), 1e-15));
  const auto gradient = torch::autograd::grad({out}, {x}, {at::ones_like(out)})[0];
  EXPECT_LT(gradient.abs().max().item<double>(), 1e-15);
}

TEST_P(RmsNorm, KeepsStridesOfDenseRows) {
  const auto heads = at::randn({2, 5, 3, 8}).to(GetParam()).transpose(1, 2).requires_grad_(true);
  const auto out = rms_norm(heads, at::ones({8}, heads.options()));
  EXPECT_EQ(out.strides(), heads.strides());
  EXPECT_EQ(torch::autograd::grad({out.sum()}, {heads})[0].strides(), heads.strides());
}

TEST(RmsNormOp, RowsOfZerosAndOfLargeNumbersAreFinite) {
  const auto x = at::stack({at::zeros(40), at::full(40, 1e18)}).requires_grad_(true);
  const auto out = rms_norm(x, at::ones(40));
  EXPECT_TRUE(at::equal(out[0], at::zeros(40)));
  EXPECT_TRUE(close(out[1], at::ones(40), 1e-6));
  EXPECT_TRUE(
      torch::autograd::grad({out}, {x}, {at::ones_like(out)})[0].isfinite().all().item<bool>());
}

TEST(RmsNormOp, DoesNotDependOnTheNumberOfThreads) {
  torch::manual_seed(3);
  const auto data = at::randn({1000, 24}), above = at::randn({1000, 24});
  const auto gradients = [&](int threads) {
    at::set_num_threads(threads);
    const auto x = data.clone().requires_grad_(true);
    const auto weight = at::ones(24).requires_grad_(true);
    return torch::autograd::grad({rms_norm(x, weight)}, {x, weight}, {above});
  };
  const auto before = at::get_num_threads();
  const auto one = gradients(1), two = gradients(2);
  at::set_num_threads(before);
  EXPECT_TRUE(at::equal(one[0], two[0]));
  EXPECT_TRUE(at::equal(one[1], two[1]));
}

TEST(RmsNormOp, MetaGivesShapesAndGradients) {
  const auto options = at::TensorOptions().device(at::kMeta);
  const auto x = at::empty({2, 5, 3, 8}, options).transpose(1, 2).requires_grad_(true);
  const auto weight = at::empty({8}, options).requires_grad_(true);
  const auto out = rms_norm(x, weight);
  EXPECT_TRUE(out.is_meta());
  EXPECT_EQ(out.strides(), x.strides());
  const auto grads = torch::autograd::grad({out.sum()}, {x, weight});
  EXPECT_EQ(grads[0].sizes(), x.sizes());
  EXPECT_EQ(grads[1].sizes(), weight.sizes());
}

// A backend without kernels of its own runs the composite reference.
TEST(RmsNormOp, TheFallbackOfOtherBackendsIsTheDefinition) {
  torch::manual_seed(4);
  const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("weft::_rms_norm", "")
          .typed<std::tuple<Tensor, Tensor>(const Tensor&, const std::optional<Tensor>&, double)>();
  const auto back = c10::Dispatcher::singleton()
                        .findSchemaOrThrow("weft::_rms_norm_backward", "")
                        .typed<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&,
                                                          const std::optional<Tensor>&,
                                                          const Tensor&, std::array<bool, 2>)>();
  const c10::DispatchKeySet elsewhere(c10::DispatchKey::PrivateUse1);
  const auto weight = at::rand({7}, at::kDouble).requires_grad_(true);
  const auto above = at::randn({2, 3, 4, 7}, at::kDouble);
  for (const auto& data : layouts_of(at::randn({2, 3, 4, 7}, at::kDouble))) {
    const auto x = data.detach().requires_grad_(true);
    const auto expected = definition(x, weight, 1e-5);
    const auto wanted = torch::autograd::grad({expected}, {x, weight}, {above});
    const at::NoGradGuard no_grad;
    const auto [out, rstd] = op.redispatch(elsewhere, x, weight, 1e-5);
    EXPECT_TRUE(close(out, expected, 1e-13));
    const auto [dx, dweight] =
        back.redispatch(elsewhere, above, x, weight, rstd, std::array<bool, 2>{true, true});
    EXPECT_TRUE(close(dx, wanted[0], 1e-12));
    EXPECT_TRUE(close(dweight, wanted[1], 1e-12));
  }
}

TEST(RmsNormErrors, NameRuleAndValues) {
  EXPECT_THAT(
      [] {
        rms_norm(at::randn({2, 4}), at::ones(3));
      },
      ThrowsMessage<c10::Error>(HasSubstr("rms_norm: weight must be [4], got [3]")));
  EXPECT_THAT(
      [] {
        rms_norm(at::randn({2, 0}), Tensor());
      },
      ThrowsMessage<c10::Error>(HasSubstr("with D > 0, got [2, 0]")));
  EXPECT_THAT(
      [] {
        rms_norm(at::randn({2, 4}), Tensor(), -1);
      },
      ThrowsMessage<c10::Error>(HasSubstr("eps must not be negative, got -1")));
  EXPECT_THAT(
      [] {
        rms_norm(at::ones({2, 4}, at::kLong), Tensor());
      },
      ThrowsMessage<c10::Error>(HasSubstr("must be floating, got Long")));
}

}  // namespace rms_norm_test
