#include <torch/torch.h>

#include <weft/eval/attention_maps.hpp>
#include <weft/report/attention.hpp>
#include <weft/text/presets.hpp>
#include <weft/text/text_encoder.hpp>
#include <weft/vision/vision_transformer.hpp>

#include "support/gmock.hpp"
#include "support/gradcheck.hpp"
#include "support/tensors.hpp"

namespace attention_maps_test {

using namespace weft::test;
using weft::nn::Pooling;

weft::vision::VisionTransformer make(bool class_token, Pooling pooling) {
  torch::manual_seed(3);
  weft::vision::VisionTransformer m(
      weft::vision::VisionTransformerOptions{.image_size = 12,
                                             .patch_size = 4,
                                             .hidden_size = 16,
                                             .num_layers = 2,
                                             .num_heads = 2,
                                             .class_token = class_token,
                                             .num_registers = class_token ? 1 : 0,
                                             .pooling = pooling});
  randomize(m);
  return m;
}

/// The weights of block `layer`, from its definition.
torch::Tensor weights(weft::vision::VisionTransformerImpl& m, const torch::Tensor& pixels,
                      int64_t layer) {
  const auto x = m.encode({.data = pixels}, {.hidden_layers = {layer}}).hidden[0];
  auto& block = *m.blocks->blocks[static_cast<size_t>(layer)];
  const auto y = block.norm1(x);
  const auto heads = [&](const torch::Tensor& t) {
    return t.view({t.size(0), t.size(1), 2, 8}).transpose(1, 2);
  };
  auto& a = *block.attention;
  return (heads(a.q(y)).matmul(heads(a.k(y)).transpose(2, 3)) / std::sqrt(8.0)).softmax(-1);
}

TEST(AttentionMaps, AreTheRolloutOfThePooledToken) {
  const torch::NoGradGuard no_grad;
  const auto pixels = torch::randn({2, 3, 12, 16});
  struct Case {
    bool class_token;
    Pooling own, asked;
    std::vector<double> first_and_mean;  // what the vector takes of the class token and the patches
  };
  for (const auto& [class_token, own, asked, parts] :
       {Case{true, Pooling::encoder, Pooling::encoder, {1, 0}},
        Case{true, Pooling::mean, Pooling::encoder, {0, 1}},
        Case{true, Pooling::encoder, Pooling::cls_mean, {0.5, 0.5}},
        Case{false, Pooling::encoder, Pooling::encoder, {0, 1}}}) {
    auto m = make(class_token, own);
    m->eval();
    const auto maps = weft::eval::attention_maps(*m, pixels, asked);
    ASSERT_EQ(maps.sizes(), (std::vector<int64_t>{2, 3, 4}));
    const int64_t prefix = class_token ? 2 : 0;
    for (int64_t i = 0; i < 2; ++i) {
      const auto rollout = weft::report::attention_rollout(
          torch::stack({weights(*m, pixels, 0)[i], weights(*m, pixels, 1)[i]}));
      const auto expected = parts[0] * rollout[0] + parts[1] * rollout.slice(0, prefix).mean(0);
      EXPECT_TRUE(close(maps[i].flatten(), expected.slice(0, prefix), 1e-5));
    }
    EXPECT_LE(maps.sum({1, 2}).max().item<double>(), 1 + 1e-5);
  }
}

TEST(AttentionMaps, OfAnAttentionPoolStartAtItsWeights) {
  const torch::NoGradGuard no_grad;
  auto m = make(false, Pooling::map);
  m->train();
  const auto maps = weft::eval::attention_maps(*m, torch::randn({3, 3, 12, 12}));
  EXPECT_TRUE(m->is_training());
  EXPECT_TRUE(close(maps.sum({1, 2}), torch::ones({3}), 1e-5));
  EXPECT_GT((maps[0] - maps[1]).abs().max().item<double>(), 1e-6);
}

TEST(AttentionMaps, NeedPatches) {
  auto options = weft::text::text_tiny();
  options.num_layers = 1;
  weft::text::TextEncoder text(options);
  EXPECT_THAT(
      [&] {
        weft::eval::attention_maps(*text, torch::ones({1, 3, 8, 8}));
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("has no patches")));
  auto m = make(true, Pooling::encoder);
  EXPECT_THAT(
      [&] {
        weft::eval::attention_maps(*m, torch::ones({3, 8, 8}));
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("got [3, 8, 8]")));
}

}  // namespace attention_maps_test
