#include <torch/types.h>

#include <weft/models/image_classifier.hpp>
#include <weft/vision/vision_transformer.hpp>

#include "support/gmock.hpp"
#include "support/gradcheck.hpp"
#include "support/tensors.hpp"

namespace image_classifier_test {

using namespace weft::test;
using weft::models::ImageClassifier;
using weft::models::ImageClassifierOptions;
using weft::nn::Pooling;

static std::shared_ptr<weft::vision::VisionTransformerImpl> encoder(double drop_path = 0) {
  torch::manual_seed(0);
  return std::make_shared<weft::vision::VisionTransformerImpl>(
      weft::vision::VisionTransformerOptions{.image_size = 8,
                                             .patch_size = 4,
                                             .hidden_size = 8,
                                             .num_layers = 2,
                                             .num_heads = 2,
                                             .drop_path = drop_path});
}
static ImageClassifier make(const ImageClassifierOptions& options, double drop_path = 0) {
  return ImageClassifier(encoder(drop_path), options);
}
static weft::EncoderInput images(int64_t n = 3) { return {.data = torch::randn({n, 3, 8, 8})}; }

TEST(ImageClassifier, IsAnEncoderAPoolingAndALinearHead) {
  for (const auto pool : {Pooling::encoder, Pooling::cls, Pooling::mean, Pooling::cls_mean}) {
    auto model = make({.num_classes = 5, .pool = pool});
    randomize(model);
    model->eval();
    const auto input = images();
    const auto tokens = model->encoder->encode(input).tokens;  // [3, 1 + 4, 8]
    const auto cls = tokens.select(1, 0), mean = tokens.slice(1, 1).mean(1);
    const auto pooled = pool == Pooling::mean       ? mean
                        : pool == Pooling::cls_mean ? torch::cat({cls, mean}, 1)
                                                    : cls;
    EXPECT_TRUE(close(model->features(input), pooled, 1e-6));
    const auto logits = pooled.mm(model->head->weight.t()) + model->head->bias;
    EXPECT_TRUE(close(model->forward(input), logits, 1e-5));
  }
}

TEST(ImageClassifier, StartsWithASmallHeadAndNamesItsParameters) {
  torch::manual_seed(1);
  auto model = make({.num_classes = 400});
  const auto parameters = model->named_parameters();
  EXPECT_EQ(parameters.size(), model->encoder->named_parameters().size() + 2);
  EXPECT_TRUE(parameters.contains("encoder.class_token"));
  EXPECT_EQ(parameters["head.weight"].sizes(), (std::vector<int64_t>{400, 8}));
  EXPECT_NEAR(parameters["head.weight"].std().item<double>(), 0.02, 0.001);
  EXPECT_EQ(parameters["head.bias"].abs().max().item<double>(), 0);
}

TEST(ImageClassifier, GradientsAreThoseOfFiniteDifferences) {
  auto model = make({.num_classes = 3, .pool = Pooling::cls_mean});
  randomize(model);
  auto inputs = fp64_parameters(*model);
  const auto pixels = torch::randn({2, 3, 8, 8}, torch::kDouble).requires_grad_();
  inputs.push_back(pixels);
  EXPECT_TRUE(gradcheck([&](const auto&) { return model->forward({.data = pixels}); }, inputs));
}

TEST(ImageClassifier, LogitsAreFp32UnderAutocast) {
  auto model = make({.num_classes = 3});
  const auto input = images();
  model->eval();
  const auto plain = model->forward(input);
  const weft::nn::AutocastGuard autocast(torch::kCPU);
  const auto logits = model->forward(input);
  EXPECT_EQ(logits.scalar_type(), torch::kFloat);
  EXPECT_TRUE(close(logits, plain, 0.05));
  // The head itself multiplies in fp32, where autocast's product would be bf16.
  const auto features = torch::randn({4, 8});
  EXPECT_EQ(model->head->forward(features).scalar_type(), torch::kBFloat16);
  const auto wide = torch::randn({4, 8}).to(torch::kDouble);
  EXPECT_TRUE(close(model->classify(wide),
                    wide.mm(model->head->weight.to(torch::kDouble).t()) + model->head->bias, 1e-6));
}

TEST(ImageClassifier, ALockedEncoderStaysAsItIs) {
  auto model = make({.num_classes = 3, .dropout = 0.5}, /*drop_path=*/0.5);
  model->lock_encoder();
  model->train();
  EXPECT_TRUE(model->encoder_locked());
  EXPECT_FALSE(model->encoder->is_training());
  EXPECT_TRUE(model->dropout->is_training());
  const auto input = images();
  EXPECT_TRUE(torch::equal(model->features(input), model->features(input)));
  EXPECT_FALSE(torch::equal(model->forward(input), model->forward(input)));
  model->forward(input).sum().backward();
  for (const auto& item : model->named_parameters())
    EXPECT_EQ(item.value().grad().defined(), item.key().starts_with("head.")) << item.key();
  model->lock_encoder(false);
  EXPECT_TRUE(model->encoder->is_training());
  model->forward(input).sum().backward();
  EXPECT_TRUE(model->encoder->named_parameters()["class_token"].grad().defined());
  EXPECT_FALSE(torch::equal(model->features(input), model->features(input)));
  model->eval();
  EXPECT_TRUE(torch::equal(model->forward(input), model->forward(input)));
}

TEST(ImageClassifier, RefusesWhatCannotWork) {
  const auto error = [](const ImageClassifierOptions& options, const char* message) {
    EXPECT_THAT([&] { make(options); }, ThrowsMessage<c10::ValueError>(HasSubstr(message)));
  };
  error({.num_classes = 0}, "ImageClassifier: num_classes must be positive, got 0");
  error({.num_classes = 2, .dropout = 1}, "dropout must be in [0, 1), got 1");
  error({.num_classes = 2, .pool = Pooling::eot}, "eot");
  EXPECT_THAT([] { ImageClassifier(nullptr, ImageClassifierOptions{.num_classes = 2}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("the encoder must be given")));
  EXPECT_THAT([] { weft::from_json<ImageClassifierOptions>(weft::Json::object()); },
              ThrowsMessage<weft::Error>(HasSubstr("the required key 'num_classes' is missing")));
}

}  // namespace image_classifier_test
