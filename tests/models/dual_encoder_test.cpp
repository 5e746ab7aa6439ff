#include <cmath>
#include <map>

#include <gmock/gmock.h>

#include <torch/nn/modules/dropout.h>
#include <torch/optim/adamw.h>

#include <weft/models/dual_encoder.hpp>
#include <weft/nn/autocast.hpp>

namespace dual_encoder_test {

using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::models::DualEncoder;
using weft::models::DualEncoderOptions;
using weft::models::Projection;
using weft::nn::Pooling;

// A tower of the least kind: one projection of its tokens [B, N, D_in], dropout, its own pooling.
struct Tower : weft::Encoder {
  Tower(std::string family, int64_t in, int64_t width, int64_t prefix)
      : family_(std::move(family)), width_(width), prefix_(prefix) {
    linear = register_module("linear", torch::nn::Linear(in, width));
    dropout = register_module("dropout", torch::nn::Dropout(0.5));
  }
  weft::EncoderOutput encode(const weft::EncoderInput& input, const weft::EncodeOptions&) override {
    weft::EncoderOutput out;
    out.tokens = dropout(linear(input.data));
    out.mask = input.mask;
    out.prefix = prefix_;
    out.pooled = out.tokens.select(1, 0).tanh();
    return out;
  }
  weft::EncoderInfo info() const override {
    weft::EncoderInfo info;
    info.family = family_;
    info.hidden_size = info.pooled_size = width_;
    info.prefix = prefix_;
    return info;
  }
  torch::nn::Linear linear{nullptr};
  torch::nn::Dropout dropout{nullptr};

 private:
  std::string family_;
  int64_t width_, prefix_;
};

static DualEncoder make(const DualEncoderOptions& options = {.embed_dim = 5}) {
  return DualEncoder(std::make_shared<Tower>("image tower", 6, 8, 1),
                     std::make_shared<Tower>("text tower", 4, 7, 0), options);
}
static weft::EncoderInput images(int64_t n = 3) { return {.data = at::randn({n, 5, 6})}; }
static weft::EncoderInput texts(int64_t n = 3) {
  auto mask = at::ones({n, 4}, at::kBool);
  mask[0][3] = false;
  return {.data = at::randn({n, 4, 4}), .mask = mask};
}

TEST(DualEncoder, NamesItsParametersAsCheckpointsDo) {
  std::vector<std::string> names;
  for (const auto& p : make()->named_parameters()) names.push_back(p.key());
  EXPECT_THAT(names, testing::UnorderedElementsAre(
                         "image.linear.weight", "image.linear.bias", "text.linear.weight",
                         "text.linear.bias", "image_projection.weight", "image_projection.bias",
                         "text_projection.weight", "text_projection.bias", "logit_scale"));
  auto bare = make({.embed_dim = 5,
                    .image_projection = Projection::linear,
                    .text_projection = Projection::linear});
  EXPECT_EQ(bare->named_parameters().size(), 7);
  EXPECT_NEAR(bare->logit_scale.item<float>(), std::log(1 / 0.07), 1e-6);
}

TEST(DualEncoder, EmbedsAsTheDefinitionSays) {
  auto model = make({.embed_dim = 5, .image_pool = Pooling::cls_mean, .text_pool = Pooling::mean});
  model->eval();
  const auto image = images(), text = texts();
  const auto patches = model->image->encode(image).tokens;
  const auto pooled = at::cat({patches.select(1, 0), patches.slice(1, 1).mean(1)}, -1);
  EXPECT_TRUE(at::allclose(model->image_features(image), pooled));
  const auto tokens = model->text->encode(text).tokens;
  const auto real = text.mask.unsqueeze(-1);
  const auto mean = (tokens * real).sum(1) / real.sum(1);
  EXPECT_TRUE(at::allclose(model->text_features(text), mean));

  const auto rows = model->image_projection(pooled);
  const auto a = model->encode_image(image), b = model->encode_text(text);
  EXPECT_TRUE(at::allclose(a, rows / rows.norm(2, {1}, true)));
  EXPECT_TRUE(at::allclose(b.norm(2, {1}), at::ones({3})));
  EXPECT_TRUE(at::equal(model->project_text(model->text_features(text)), b));

  const auto logits = model->logit_scale.exp() * a.mm(b.t());
  const auto labels = at::arange(3);
  const auto expected =
      (at::cross_entropy_loss(logits, labels) + at::cross_entropy_loss(logits.t(), labels)) / 2;
  EXPECT_TRUE(at::allclose(model->loss(a, b), expected));
}

TEST(DualEncoder, RowsAndLossAreFp32UnderAutocast) {
  auto model = make();
  const weft::nn::AutocastGuard autocast(at::kCPU, at::kBFloat16);
  const auto a = model->encode_image(images()), b = model->encode_text(texts());
  EXPECT_EQ(a.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::allclose(a.norm(2, {1}), at::ones({3}), 0, 1e-6));
  EXPECT_EQ(model->loss(a, b).scalar_type(), at::kFloat);
}

TEST(DualEncoder, TrainsAndKeepsLockedTowersAsTheyWere) {
  torch::manual_seed(0);
  auto model = make();
  model->lock_image();
  model->train();
  EXPECT_TRUE(model->image_locked());
  EXPECT_FALSE(model->image->is_training());
  EXPECT_TRUE(model->text->is_training());
  const auto image = images(8), text = texts(8);
  EXPECT_TRUE(at::equal(model->image_features(image), model->image_features(image)));  // no dropout
  EXPECT_FALSE(model->image_features(image).requires_grad());

  std::map<std::string, torch::Tensor> before;
  for (const auto& p : model->named_parameters()) before[p.key()] = p.value().detach().clone();
  torch::optim::AdamW optimizer(model->parameters(), torch::optim::AdamWOptions(2e-2));
  double first = 0, last = 0;
  for (int step = 0; step < 60; ++step) {
    optimizer.zero_grad();
    const auto loss = model->loss(model->encode_image(image), model->encode_text(text));
    loss.backward();
    optimizer.step();
    model->clamp_scale_();
    (step == 0 ? first : last) = loss.item<double>();
  }
  EXPECT_LT(last, first / 2);
  for (const auto& p : model->named_parameters())
    EXPECT_EQ(at::equal(p.value(), before[p.key()]), p.key().rfind("image.", 0) == 0) << p.key();

  model->lock_image(false);
  EXPECT_TRUE(model->image->is_training());
  EXPECT_TRUE(model->image_features(image).requires_grad());
  model->eval();
  model->lock_text();
  model->lock_text(false);
  EXPECT_FALSE(model->text->is_training());
}

TEST(DualEncoder, ClampsTheScale) {
  auto model = make({.embed_dim = 5, .max_logit_scale = 3.0});
  {
    const torch::NoGradGuard no_grad;
    model->logit_scale.fill_(4);
  }
  model->clamp_scale_();
  EXPECT_EQ(model->logit_scale.item<float>(), 3);
}

TEST(DualEncoder, OptionsRoundTripAsJson) {
  const DualEncoderOptions options{.embed_dim = 7, .image_pool = Pooling::cls_mean};
  const auto json = weft::to_json(options);
  EXPECT_EQ(json.at("image_pool").as_string(), "cls+mean");
  EXPECT_EQ(weft::to_json(weft::from_json<DualEncoderOptions>(json)), json);
}

TEST(DualEncoder, RefusesWhatCannotWork) {
  EXPECT_THAT([] { DualEncoder(nullptr, nullptr, DualEncoderOptions{}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("both encoders must be given")));
  EXPECT_THAT([] { make({.embed_dim = 0}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("embed_dim must be positive, got 0")));
}

TEST(DualEncoder, LearnsABiasWithTheSigmoidLossAndNeedsNoProjection) {
  const auto towers = [](const DualEncoderOptions& o) {
    return DualEncoder(std::make_shared<Tower>("image tower", 6, 8, 1),
                       std::make_shared<Tower>("text tower", 4, 8, 0), o);
  };
  auto model = towers({.embed_dim = 8,
                       .image_projection = Projection::none,
                       .text_projection = Projection::none,
                       .loss = weft::models::ContrastiveLoss::sigmoid});
  model->eval();
  EXPECT_NEAR(model->logit_scale.item<float>(), std::log(10), 1e-6);
  EXPECT_EQ(model->logit_bias.item<float>(), -10);
  EXPECT_EQ(model->named_parameters().size(), 6);  // both towers, the scale and the bias
  const auto image = model->encode_image(images()), text = model->encode_text(texts());
  const auto pooled = model->image->encode(images()).pooled;
  EXPECT_EQ(pooled.sizes(), image.sizes());
  const auto logits = 10 * image.mm(text.t()) - 10;
  const auto sign = 2 * at::eye(3) - 1;
  const auto expected = -at::log_sigmoid(sign * logits).sum() / 3;
  EXPECT_NEAR(model->loss(image, text).item<double>(), expected.item<double>(), 1e-5);
  model->loss(image, text).backward();
  EXPECT_TRUE(model->logit_bias.grad().defined());
  EXPECT_THAT([&] { towers({.embed_dim = 5, .image_projection = Projection::none}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("must be embed_dim, got 8 and 5")));
}

}  // namespace dual_encoder_test
