#include <gmock/gmock.h>

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/autograd.h>

#include <weft/nn/autocast.hpp>
#include <weft/ops/patchify.hpp>

#include "support/devices.hpp"

namespace patchify_test {

using at::Tensor;
using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::ops::patch_embed;
using weft::ops::patchify;

static const std::vector<double> kMean = {0.485, 0.456, 0.406}, kStd = {0.229, 0.224, 0.225};

static Tensor bytes(at::IntArrayRef shape, at::Device device = at::kCPU) {
  return at::randint(0, 256, shape, at::kByte).to(device);
}

static Tensor normal(at::IntArrayRef shape, at::Device device, at::ScalarType dtype = at::kDouble) {
  return at::randn(shape, dtype).to(device);
}

// out[b, i * w + j, (c * p + y) * p + x] = pixels[b, c, i * p + y, j * p + x]
static Tensor definition(const Tensor& pixels, int64_t p) {
  const auto h = pixels.size(2) / p, w = pixels.size(3) / p;
  std::vector<Tensor> patches;
  for (int64_t i = 0; i < h; ++i) {
    for (int64_t j = 0; j < w; ++j)
      patches.push_back(
          pixels.slice(2, i * p, (i + 1) * p).slice(3, j * p, (j + 1) * p).flatten(1));
  }
  return at::stack(patches, 1);
}

static Tensor normalize(const Tensor& pixels, at::ScalarType dtype = at::kDouble) {
  const auto channel = [&](const std::vector<double>& values) {
    return at::tensor(values, dtype).view({1, 3, 1, 1}).to(pixels.device());
  };
  return (pixels.to(dtype) / 255 - channel(kMean)) / channel(kStd);
}

static Tensor convolve(const Tensor& pixels, const Tensor& weight, const Tensor& bias) {
  return at::conv2d(pixels, weight, bias, weight.size(2)).flatten(2).transpose(1, 2);
}

static double relative_error(const Tensor& ours, const Tensor& exact) {
  EXPECT_EQ(ours.sizes(), exact.sizes());
  return ((ours.to(at::kDouble) - exact).abs().max() / exact.abs().max()).item<double>();
}

struct Patchify : testing::TestWithParam<at::Device> {};
struct PatchEmbed : testing::TestWithParam<at::Device> {};
INSTANTIATE_TEST_SUITE_P(, Patchify, testing::ValuesIn(weft::test::devices()),
                         weft::test::device_name);
INSTANTIATE_TEST_SUITE_P(, PatchEmbed, testing::ValuesIn(weft::test::devices()),
                         weft::test::device_name);

TEST_P(Patchify, IsTheDefinitionForEveryDtypeLayoutAndRemainder) {
  torch::manual_seed(0);
  for (const auto dtype : {at::kByte, at::kFloat, at::kDouble, at::kBFloat16, at::kHalf}) {
    const auto pixels = bytes({2, 3, 39, 50}, GetParam()).to(dtype);
    for (const int64_t patch : {1, 4, 7, 14, 16, 32}) {
      const auto expected = definition(pixels, patch);
      EXPECT_TRUE(at::equal(patchify(pixels, patch), expected)) << dtype << ' ' << patch;
      const auto last = pixels.contiguous(at::MemoryFormat::ChannelsLast);
      EXPECT_TRUE(at::equal(patchify(last, patch), expected));
      EXPECT_TRUE(at::equal(patchify(pixels.slice(0, 1).narrow(3, 1, 47), patch),
                            definition(pixels.slice(0, 1).narrow(3, 1, 47), patch)));
    }
  }
  EXPECT_EQ(patchify(at::empty({0, 3, 8, 8}, GetParam()), 4).sizes(), (at::IntArrayRef{0, 4, 48}));
}

TEST_P(Patchify, EveryBackendEqualsTheFallback) {
  const auto op = c10::Dispatcher::singleton()
                      .findSchemaOrThrow("weft::_patchify", "")
                      .typed<Tensor(const Tensor&, int64_t, at::ScalarType, int64_t)>();
  const c10::DispatchKeySet other(c10::DispatchKey::PrivateUse1);
  const auto pixels = bytes({2, 3, 35, 40}, GetParam());
  for (const auto dtype : {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf}) {
    for (const int64_t patch : {5, 8, 14, 16}) {
      const auto reference = op.redispatch(other, pixels, patch, dtype, 128);
      EXPECT_TRUE(at::equal(op.call(pixels, patch, dtype, 128), reference)) << dtype << patch;
      EXPECT_EQ(reference.scalar_type(), dtype);
    }
  }
}

TEST_P(Patchify, GradientPutsEveryPatchBack) {
  const auto pixels = normal({2, 3, 9, 13}, GetParam()).requires_grad_(true);
  const auto weights = normal({2, 6, 48}, GetParam());
  const auto ours = torch::autograd::grad({(patchify(pixels, 4) * weights).sum()}, {pixels})[0];
  const auto theirs = torch::autograd::grad({(definition(pixels, 4) * weights).sum()}, {pixels})[0];
  EXPECT_TRUE(at::equal(ours, theirs));
  EXPECT_EQ(ours.slice(2, 8).abs().sum().item<double>(), 0);  // the remainder is not read
}

TEST(PatchifyMeta, GivesShapes) {
  const auto meta = at::empty({2, 3, 30, 44}, at::TensorOptions(at::kByte).device(at::kMeta));
  const auto weight = at::empty({8, 3, 14, 14}, at::TensorOptions().device(at::kMeta));
  EXPECT_EQ(patchify(meta, 14).sizes(), (at::IntArrayRef{2, 6, 588}));
  EXPECT_EQ(patchify(meta, 14).scalar_type(), at::kByte);
  EXPECT_EQ(patch_embed(meta, weight, {}, kMean, kStd).sizes(), (at::IntArrayRef{2, 6, 8}));
}

TEST_P(PatchEmbed, BytesEqualNormaliseAndConvolution) {
  torch::manual_seed(1);
  const auto pixels = bytes({3, 3, 31, 45}, GetParam());
  const auto weight = normal({40, 3, 14, 14}, GetParam()) * 0.05 + 0.01;
  const auto bias = normal({40}, GetParam());
  const auto exact = convolve(normalize(pixels), weight, bias);
  EXPECT_LT(relative_error(patch_embed(pixels, weight, bias, kMean, kStd), exact), 1e-13);
  EXPECT_LT(
      relative_error(patch_embed(pixels, weight.to(at::kFloat), bias.to(at::kFloat), kMean, kStd),
                     exact),
      2e-6);
  EXPECT_LT(relative_error(patch_embed(pixels, weight, {}, kMean, kStd),
                           convolve(normalize(pixels), weight, {})),
            1e-13);
}

// Folding costs no accuracy: rounding the output to bf16 is what remains either way.
TEST_P(PatchEmbed, Bf16IsAsNearAsNormalisedPixelsInBf16) {
  torch::manual_seed(2);
  const auto pixels = bytes({4, 3, 56, 56}, GetParam());
  const auto weight = normal({64, 3, 14, 14}, GetParam(), at::kFloat) * 0.03 + 0.01,
             bias = normal({64}, GetParam(), at::kFloat);
  const auto exact = convolve(normalize(pixels), weight.to(at::kDouble), bias.to(at::kDouble));
  const auto usual = convolve(normalize(pixels, at::kFloat).to(at::kBFloat16),
                              weight.to(at::kBFloat16), bias.to(at::kBFloat16));
  const weft::nn::AutocastGuard autocast(GetParam().type(), at::kBFloat16);
  const auto ours = patch_embed(pixels, weight, bias, kMean, kStd);
  EXPECT_EQ(ours.scalar_type(), at::kBFloat16);
  const auto rms = [&](const Tensor& x) {
    return (x.to(at::kDouble) - exact).square().mean().sqrt().item<double>();
  };
  EXPECT_LE(rms(ours), 1.15 * rms(usual));
}

TEST_P(PatchEmbed, FloatingPixelsAreTakenAsTheyAre) {
  torch::manual_seed(3);
  const auto pixels = normal({2, 3, 20, 21}, GetParam()).requires_grad_(true);
  const auto weight = normal({10, 3, 4, 4}, GetParam()).requires_grad_(true);
  const auto bias = normal({10}, GetParam()).requires_grad_(true);
  const auto ours = patch_embed(pixels, weight, bias, {}, {});
  const auto theirs = convolve(pixels, weight, bias);
  EXPECT_LT(relative_error(ours, theirs), 1e-13);
  const auto upstream = at::randn_like(ours);
  const auto got = torch::autograd::grad({ours}, {pixels, weight, bias}, {upstream});
  const auto expected = torch::autograd::grad({theirs}, {pixels, weight, bias}, {upstream});
  for (size_t i = 0; i < 3; ++i) EXPECT_LT(relative_error(got[i], expected[i]), 1e-12) << i;
}

TEST_P(PatchEmbed, GradientsOfBytesAreThoseOfNormaliseAndConvolution) {
  torch::manual_seed(4);
  const auto pixels = bytes({2, 3, 28, 29}, GetParam());
  const auto weight = normal({10, 3, 7, 7}, GetParam()), bias = normal({10}, GetParam());
  for (const auto dtype : {at::kDouble, at::kFloat}) {
    const auto w = weight.to(dtype, false, true).requires_grad_(true);
    const auto b = bias.to(dtype, false, true).requires_grad_(true);
    const auto w64 = weight.clone().requires_grad_(true), b64 = bias.clone().requires_grad_(true);
    const auto ours = patch_embed(pixels, w, b, kMean, kStd);
    const auto upstream = normal({2, 16, 10}, GetParam());
    const auto got = torch::autograd::grad({ours}, {w, b}, {upstream.to(dtype)});
    const auto expected =
        torch::autograd::grad({convolve(normalize(pixels), w64, b64)}, {w64, b64}, {upstream});
    const double tolerance = dtype == at::kDouble ? 1e-12 : 1e-5;
    EXPECT_LT(relative_error(got[0], expected[0]), tolerance);
    EXPECT_LT(relative_error(got[1], expected[1]), tolerance);
  }
}

TEST_P(PatchEmbed, AutocastComputesInItsDtype) {
  torch::manual_seed(5);
  const auto pixels = bytes({2, 3, 28, 28}, GetParam());
  const auto weight = (normal({16, 3, 14, 14}, GetParam(), at::kFloat) * 0.05).requires_grad_(true);
  const auto bias = normal({16}, GetParam(), at::kFloat);
  Tensor ours, floating;
  {
    const weft::nn::AutocastGuard autocast(GetParam().type(), at::kBFloat16);
    ours = patch_embed(pixels, weight, bias, kMean, kStd);
    floating = patch_embed(normalize(pixels, at::kFloat), weight, bias, {}, {});
  }
  EXPECT_EQ(ours.scalar_type(), at::kBFloat16);
  EXPECT_EQ(floating.scalar_type(), at::kBFloat16);
  const auto exact = patch_embed(pixels, weight, bias, kMean, kStd).to(at::kDouble);
  EXPECT_LT(relative_error(ours, exact), 0.01);
  EXPECT_LT(relative_error(floating, exact), 0.01);
  EXPECT_EQ(torch::autograd::grad({ours.sum()}, {weight})[0].scalar_type(), at::kFloat);
}

TEST(PatchifyErrors, NameRuleAndValues) {
  const auto says = [](const char* text) {
    return ThrowsMessage<c10::ValueError>(HasSubstr(text));
  };
  const auto pixels = at::zeros({1, 3, 16, 16}, at::kByte);
  const auto weight = at::zeros({4, 3, 8, 8});
  EXPECT_THAT([&] { patchify(pixels[0], 8); },
              says("patchify: pixels must be [B, C, H, W], got [3, 16, 16]"));
  EXPECT_THAT([&] { patchify(pixels, 17); }, says("got 17 for [1, 3, 16, 16]"));
  EXPECT_THAT([&] { patchify(pixels.to(at::kLong), 8); },
              says("patchify: pixels must be uint8 or floating, got Long"));
  EXPECT_THAT([&] { patch_embed(pixels.slice(1, 0, 1), weight, {}, kMean, kStd); },
              says("patch_embed: pixels must be [B, 3, H, W], got [1, 1, 16, 16]"));
  EXPECT_THAT([&] { patch_embed(pixels, weight, {}, {}, {}); },
              says("patch_embed: uint8 pixels need mean and std of 3 numbers each, got 0 and 0"));
  EXPECT_THAT(
      [&] {
        patch_embed(pixels, weight, {}, kMean, {1.0, 0.0, 1.0});
      },
      says("patch_embed: std must be positive, got 0"));
  EXPECT_THAT([&] { patch_embed(pixels, weight, at::zeros({3}), kMean, kStd); },
              says("patch_embed: bias must be [4], got [3]"));
}

}  // namespace patchify_test
