#include <set>

#include <gmock/gmock.h>

#include <torch/torch.h>

#include <weft/nn/autocast.hpp>
#include <weft/nn/inference.hpp>
#include <weft/vision/image_batch.hpp>
#include <weft/vision/presets.hpp>
#include <weft/vision/vision_transformer.hpp>

#include "support/gradcheck.hpp"

namespace vision_transformer_test {

using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::test::relative_error;
using weft::vision::VisionTransformer;
using weft::vision::VisionTransformerOptions;

VisionTransformerOptions small() {
  return {.image_size = 20,
          .patch_size = 5,
          .hidden_size = 12,
          .num_layers = 2,
          .num_heads = 3,
          .layer_scale = 0.5,
          .num_registers = 2,
          .mask_token = true,
          .init_std = 0.3};
}

VisionTransformer make(const VisionTransformerOptions& options) {
  torch::manual_seed(4);
  VisionTransformer m(options);
  const torch::NoGradGuard no_grad;
  for (auto& p : m->parameters()) p.add_(torch::randn_like(p) * 0.1);
  m->eval();
  return m;
}

TEST(VisionTransformer, EmbeddingIsItsDefinition) {
  auto m = make(small());
  m->to(torch::kDouble);
  const auto pixels = torch::randn({2, 3, 20, 20}, torch::kDouble);
  const auto patches = torch::conv2d(pixels, m->patch_embed->weight, m->patch_embed->bias, 5)
                           .flatten(2)
                           .transpose(1, 2);  // [2, 16, 12]
  const auto at_class = (m->class_token + m->positions.slice(1, 0, 1)).expand({2, -1, -1});
  const auto expected = torch::cat(
      {at_class, m->register_tokens.expand({2, -1, -1}), patches + m->positions.slice(1, 1)}, 1);
  EXPECT_LT(relative_error(m->embed(pixels), expected), 1e-13);
  auto masked = torch::zeros({2, 16}, torch::kBool);
  masked[1][3] = true;
  const auto x = m->embed(pixels, masked);
  EXPECT_TRUE(torch::allclose(x[1][3 + 3], m->mask_token[0] + m->positions[0][1 + 3]));
  EXPECT_LT(relative_error(x[0], expected[0]), 1e-13);
}

TEST(VisionTransformer, OutputsFollowTheSocket) {
  auto m = make(small());
  const torch::NoGradGuard no_grad;
  const auto pixels = torch::randn({2, 3, 20, 20});
  const auto out = m->encode({.data = pixels}, {.hidden_layers = {0, 1, -1, -3}});
  EXPECT_EQ(out.tokens.sizes(), (std::vector<int64_t>{2, 19, 12}));
  EXPECT_EQ(out.prefix, 3);
  ASSERT_EQ(out.hidden.size(), 4u);
  EXPECT_TRUE(out.hidden[0].equal(m->embed(pixels)));
  EXPECT_TRUE(out.hidden[3].equal(out.hidden[0]));
  EXPECT_TRUE(out.hidden[1].equal(m->blocks->blocks[0](out.hidden[0])));
  EXPECT_TRUE(out.tokens.equal(m->norm(out.hidden[2])));
  EXPECT_TRUE(out.pooled.equal(out.tokens.select(1, 0)));
  const auto early = m->encode({.data = pixels}, {.stop_after = 1});
  EXPECT_TRUE(early.tokens.equal(out.hidden[1]));
  EXPECT_FALSE(early.pooled.defined());
  EXPECT_THAT([&] { m->encode({.data = pixels}, {.hidden_layers = {2}, .stop_after = 1}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("hidden layer 2 is not among")));
  EXPECT_THAT([&] { m->encode({.data = pixels}, {.stop_after = 3}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("between 0 and 2, got 3")));
}

TEST(VisionTransformer, PoolersAreTheirDefinitions) {
  auto o = small();
  o.pooler = true;
  auto m = make(o);
  const torch::NoGradGuard no_grad;
  const auto pixels = torch::randn({2, 3, 20, 20});
  auto out = m->encode({.data = pixels});
  EXPECT_TRUE(out.pooled.equal(m->pooler(out.tokens.select(1, 0)).tanh()));
  o.pooler = false;
  o.class_token = false;
  o.num_registers = 0;
  o.position_kind = weft::vision::PositionKind::sincos;
  m = make(o);
  out = m->encode({.data = pixels});
  EXPECT_EQ(out.prefix, 0);
  EXPECT_TRUE(out.pooled.equal(out.tokens.mean(1)));
  EXPECT_FALSE(m->named_parameters().contains("positions"));
}

TEST(VisionTransformer, PoolsByAttentionAndNormsThePooledVectorAlone) {
  auto o = small();
  o.pooling = weft::nn::Pooling::map;
  auto m = make(o);
  const torch::NoGradGuard no_grad;
  const auto pixels = torch::randn({2, 3, 20, 20});
  auto out = m->encode({.data = pixels});
  EXPECT_TRUE(out.pooled.equal(m->attention_pool(out.tokens)));
  o.pooling = weft::nn::Pooling::cls;
  o.norm_pooled = true;
  m = make(o);
  out = m->encode({.data = pixels}, {.hidden_layers = {-1}});
  EXPECT_TRUE(out.tokens.equal(out.hidden[0]));
  EXPECT_TRUE(out.pooled.equal(m->norm(out.tokens.select(1, 0))));
  o.class_token = false;
  o.num_registers = 0;
  EXPECT_THAT([&] { make(o); }, ThrowsMessage<c10::ValueError>(HasSubstr("pooling must be cls")));
}

TEST(VisionTransformer, PatchDropoutKeepsWholePatchesAndThePrefix) {
  auto options = small();
  auto model = make(options);
  const auto pixels = torch::randn({3, 3, 20, 20});
  const auto whole = model->embed(pixels);  // [3, 1 + 2 + 16, 12]
  model->options.patch_dropout = 0.6;
  EXPECT_TRUE(torch::equal(model->embed(pixels), whole)) << "only in training";
  model->train();
  const auto kept = model->embed(pixels);
  ASSERT_EQ(kept.sizes(), (std::vector<int64_t>{3, 1 + 2 + 6, 12}));  // int(16 * 0.4) patches
  EXPECT_TRUE(torch::equal(kept.narrow(1, 0, 3), whole.narrow(1, 0, 3)));
  std::set<std::vector<int64_t>> choices;
  for (int64_t b = 0; b < 3; ++b) {
    std::vector<int64_t> places;
    for (int64_t i = 3; i < kept.size(1); ++i) {
      const auto same = (whole[b] == kept[b][i]).all(1).nonzero();
      ASSERT_EQ(same.size(0), 1);
      places.push_back(same.item<int64_t>());
    }
    EXPECT_EQ(std::set(places.begin(), places.end()).size(), 6u) << "a patch stands there twice";
    EXPECT_GE(*std::ranges::min_element(places), 3);
    choices.insert(places);
  }
  EXPECT_GT(choices.size(), 1u) << "each image has its own choice";
}

TEST(VisionTransformer, BytesEqualNormalisedPixels) {
  auto m = make(small());
  const auto bytes = torch::randint(0, 256, {2, 3, 20, 20}, torch::kByte);
  const auto& o = m->options;
  const auto pixels = weft::vision::normalize(bytes, o.pixel_mean, o.pixel_std);
  EXPECT_LT(relative_error(m->embed(bytes), m->embed(pixels)), 3e-6);
  m->to(torch::kDouble);
  const auto mean = torch::tensor(o.pixel_mean, torch::kDouble).view({1, 3, 1, 1});
  const auto std = torch::tensor(o.pixel_std, torch::kDouble).view({1, 3, 1, 1});
  const auto exact = (bytes.to(torch::kDouble) / 255 - mean) / std;
  EXPECT_LT(relative_error(m->embed(bytes), m->embed(exact)), 1e-13);
}

TEST(VisionTransformer, FastPathMatchesThePlainOne) {
  const torch::NoGradGuard no_grad;
  for (const auto type : {torch::kFloat, torch::kBFloat16}) {
    const double tolerance = type == torch::kFloat ? 1e-5 : 4e-2;
    auto m = make(small());
    const weft::nn::InferenceTypeGuard guard(type);
    const auto check = [&](const torch::Tensor& pixels) {
      const auto plain = m->encode({.data = pixels});
      const weft::nn::AutocastGuard autocast(torch::kCPU);
      const auto fast = m->encode({.data = pixels});
      EXPECT_LT(relative_error(fast.tokens, plain.tokens), tolerance);
      EXPECT_LT(relative_error(fast.pooled, plain.pooled), tolerance);
    };
    check(torch::randn({3, 3, 20, 20}));
    check(torch::randn({3, 3, 27, 15}));  // another grid, and pixels beyond the last patch
    check(torch::randint(0, 256, {2, 3, 15, 27}, torch::kByte));
    m->class_token.mul_(3);
    m->positions.mul_(2);
    check(torch::randint(0, 256, {2, 3, 15, 27}, torch::kByte));
    // A strided view of pixels is read as it is.
    check(torch::randn({2, 20, 20, 3}).permute({0, 3, 1, 2}));
  }
}

TEST(VisionTransformer, GradientsMatchFiniteDifferences) {
  auto o = small();
  o.num_layers = 1;
  o.image_size = 10;
  auto m = make(o);
  auto inputs = weft::test::fp64_parameters(*m);
  const auto pixels = torch::randn({1, 3, 10, 15}, torch::kDouble);  // resamples the positions
  auto masked = torch::zeros({1, 6}, torch::kBool);
  masked[0][2] = true;
  EXPECT_TRUE(weft::test::gradcheck(
      [&](const auto&) { return m->norm(m->blocks(m->embed(pixels, masked)).x); }, inputs));
}

TEST(VisionTransformer, Errors) {
  auto m = make(small());
  EXPECT_THAT(
      [&] {
        m->encode({.data = torch::ones({2, 4, 20, 20})});
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("[B, 3, H, W], got [2, 4, 20, 20]")));
  EXPECT_THAT(
      [&] {
        m->encode({.data = torch::ones({2, 3, 4, 20})});
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("hold no patch of 5 x 5")));
  EXPECT_THAT([&] { m->encode({}); }, ThrowsMessage<c10::ValueError>(HasSubstr("input.data")));
  auto o = small();
  o.pixel_mean = {0.5};
  auto grey = make(o);
  EXPECT_THAT(
      [&] {
        grey->embed(torch::ones({1, 3, 20, 20}, torch::kByte));
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("pixel_mean and pixel_std of 3 channels")));
}

TEST(VisionPresets, AreNamedAndReadBack) {
  for (const auto& name : weft::vision::presets().names()) {
    const auto options = weft::vision::presets().at(name)();
    const auto json = weft::to_json(options);
    EXPECT_EQ(weft::to_json(weft::from_json<VisionTransformerOptions>(json)), json) << name;
  }
  EXPECT_THAT([] { weft::vision::presets().at("vit_tny"); },
              ThrowsMessage<weft::Error>(HasSubstr("vit_tiny")));
  int64_t count = 0;
  const weft::nn::NoInitGuard no_init;
  const VisionTransformer m(weft::vision::vit_small_16());
  for (const auto& p : m->parameters()) count += p.numel();
  EXPECT_EQ(count, 21'665'664);  // ViT-S/16 without its classifier
}

}  // namespace vision_transformer_test
