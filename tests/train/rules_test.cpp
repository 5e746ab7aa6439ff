#include <gmock/gmock.h>

#include <ATen/ops/zeros.h>

#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/models/dual_encoder.hpp>
#include <weft/train/rules.hpp>

namespace rules_test {

using weft::Json;
using weft::checkpoint::make_encoder;
using weft::checkpoint::Role;

const auto kSmall = Json::object({{"hidden_size", 12}, {"num_heads", 2}, {"num_layers", 3}});

weft::models::DualEncoder model() {
  return weft::models::DualEncoder(
      make_encoder("vit_tiny", Role::image, kSmall).encoder,
      make_encoder("text_tiny", Role::text, Json(kSmall).set("num_layers", 2)).encoder,
      weft::models::DualEncoderOptions{.embed_dim = 8});
}

TEST(OpenClipRule, SparesWhatHasOneDimension) {
  const auto decays = [](const char* name, std::vector<int64_t> shape) {
    return weft::train::open_clip_rule(name, at::zeros(shape)).decay;
  };
  EXPECT_TRUE(decays("image.blocks.0.mlp.fc1.weight", {3, 2}));
  EXPECT_TRUE(decays("text.positions.weight", {3, 2}));
  EXPECT_TRUE(decays("image.positions", {1, 3, 2}));
  EXPECT_FALSE(decays("image.class_token", {1, 1, 2}));
  EXPECT_FALSE(decays("image.norm.weight", {2}));
  EXPECT_FALSE(decays("image.blocks.0.mlp.fc1.bias", {2}));
  EXPECT_FALSE(decays("logit_scale", {}));
}

TEST(LayerDecay, ShrinksTowardsTheInputOfEachTower) {
  const auto clip = model();
  const auto rule = weft::train::layer_decay(*clip, 0.5);
  const auto parameters = clip->named_parameters();
  const auto scale = [&](const char* name) { return rule(name, parameters[name]).lr_scale; };
  EXPECT_DOUBLE_EQ(scale("image.patch_embed.weight"), 1.0 / 16);
  EXPECT_DOUBLE_EQ(scale("image.positions"), 1.0 / 16);
  EXPECT_DOUBLE_EQ(scale("image.blocks.0.norm1.weight"), 1.0 / 8);
  EXPECT_DOUBLE_EQ(scale("image.blocks.2.mlp.fc1.weight"), 1.0 / 2);
  EXPECT_DOUBLE_EQ(scale("image.norm.weight"), 1);
  EXPECT_DOUBLE_EQ(scale("text.token_embed.weight"), 1.0 / 8);
  EXPECT_DOUBLE_EQ(scale("text.embed_norm.weight"), 1.0 / 8);
  EXPECT_DOUBLE_EQ(scale("text.blocks.1.attention.q.weight"), 1.0 / 2);
  EXPECT_DOUBLE_EQ(scale("image_projection.weight"), 1);
  EXPECT_DOUBLE_EQ(scale("logit_scale"), 1);
  EXPECT_FALSE(rule("image.norm.weight", parameters["image.norm.weight"]).decay);
  EXPECT_TRUE(rule("image_projection.weight", parameters["image_projection.weight"]).decay);
  const weft::train::AdamW optimizer(weft::train::trainable_parameters(*clip), {}, rule);
  EXPECT_GT(optimizer.groups().size(), 5u);
}

TEST(LayerDecay, RefusesADecayOutOfRange) {
  const auto clip = model();
  for (const double decay : {0.0, -0.5, 1.5})
    EXPECT_THROW(weft::train::layer_decay(*clip, decay), c10::ValueError) << decay;
}

}  // namespace rules_test
