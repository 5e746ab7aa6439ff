#include <torch/torch.h>

#include <weft/fusion/anyres.hpp>
#include <weft/fusion/projector.hpp>
#include <weft/models/vlm.hpp>
#include <weft/text/decoder_lm.hpp>
#include <weft/vision/vision_transformer.hpp>

#include "support/gmock.hpp"
#include "support/gradcheck.hpp"
#include "support/tensors.hpp"

namespace vlm_test {

using namespace weft::test;
using weft::models::Vlm;
using weft::models::VlmOptions;

constexpr int64_t kImage = 90;  // beyond the vocabulary

std::shared_ptr<weft::vision::VisionTransformerImpl> tower() {
  return std::make_shared<weft::vision::VisionTransformerImpl>(
      weft::vision::VisionTransformerOptions{
          .image_size = 8, .patch_size = 4, .hidden_size = 8, .num_layers = 3, .num_heads = 2});
}
std::shared_ptr<weft::text::DecoderLmImpl> decoder() {
  return std::make_shared<weft::text::DecoderLmImpl>(weft::text::DecoderLmOptions{
      .vocab_size = 20,
      .num_layers = 2,
      .block = {.attention = {.hidden_size = 12, .num_heads = 2},
                .mlp = {.hidden_size = 12, .intermediate_size = 16, .gated = true},
                .norm = weft::nn::NormKind::rms_norm},
      .rotary = {.dim = 6}});
}
std::shared_ptr<weft::fusion::ProjectorImpl> projector(int64_t width = 8) {
  return std::make_shared<weft::fusion::ProjectorImpl>(
      weft::fusion::ProjectorOptions{.input_size = width, .hidden_size = 12});
}
Vlm make(const VlmOptions& options = {.image_token = kImage}, int64_t width = 8) {
  Vlm model(tower(), projector(width), decoder(), options);
  randomize(model);
  model->eval();
  return model;
}

torch::Tensor rows(const std::vector<std::vector<int64_t>>& ids) {
  std::vector<torch::Tensor> out;
  for (const auto& row : ids) out.push_back(torch::tensor(row, torch::kLong));
  return torch::stack(out);
}

TEST(Vlm, PutsVisualTokensInOrderAtTheirPlaceholders) {
  auto model = make();
  const auto pixels = torch::randn({3, 3, 8, 8});
  const auto visual = model->embed_images({.data = pixels});  // 2 x 2 patches, no class token
  ASSERT_EQ(visual.sizes(), (std::vector<int64_t>{3, 4, 12}));
  const auto hidden = model->vision->encode({.data = pixels}, {.hidden_layers = {2}}).hidden[0];
  EXPECT_TRUE(close(
      visual, model->connector->connect({.visual = {.tokens = hidden.slice(1, 1)}}).tokens, 1e-6));

  const auto k = kImage;
  const auto ids = rows({{k, k, k, k, 1, 2, k, k, k, k}, {3, k, 4, k, k, k, 5, 6, 7, 8}});
  const auto read = model->splice({.ids = ids}, visual);
  EXPECT_FALSE(read.ids.defined());
  EXPECT_TRUE(torch::equal(read.embeddings[0].slice(0, 0, 4), visual[0]));
  EXPECT_TRUE(torch::equal(read.embeddings[0].slice(0, 6), visual[1]));
  EXPECT_TRUE(torch::equal(read.embeddings[1][1], visual[2][0]));
  EXPECT_TRUE(torch::equal(read.embeddings[1].slice(0, 3, 6), visual[2].slice(0, 1)));
  EXPECT_TRUE(torch::equal(read.embeddings[1][2], model->language->embed(rows({{4}}))[0][0]));
  EXPECT_TRUE(torch::equal(model->forward({{.ids = ids}, {.data = pixels}}).logits,
                           model->language->forward(read).logits));
}

TEST(Vlm, RefusesIdsOfAnotherTokenizer) {
  auto model = make();
  model->check_ids(rows({{0, 19, kImage}}));
  EXPECT_THAT(
      [&] {
        model->check_ids(rows({{0, 20}}));
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("gives id 20, the model has 20")));
  EXPECT_THROW(model->check_ids(rows({{-1}})), c10::ValueError);
}

TEST(Vlm, ATextWithoutImagesIsTheLanguageModels) {
  auto model = make();
  const auto ids = torch::tensor({{1, 2, 3}});
  EXPECT_TRUE(torch::equal(model->forward({.text = {.ids = ids}}).logits,
                           model->language->forward({.ids = ids}).logits));
}

// The tokens of a prefix see each other in both directions, what follows sees what stands before
// it.
TEST(Vlm, PrefixAttentionIsTheDecodersOwnUnderThatMask) {
  const torch::NoGradGuard no_grad;
  auto model = make({.image_token = kImage, .prefix_attention = true});
  const auto k = kImage;
  const auto pixels = torch::randn({1, 3, 8, 8});
  const auto visual = model->embed_images({.data = pixels});
  const auto spans = rows({{1, 1, 1, 1, 1, 1, 0, 0}});
  const auto hidden = [&](const std::vector<int64_t>& ids) {
    return model->forward({{.ids = rows({ids}), .spans = spans}, {.data = pixels}}).hidden[0];
  };
  const auto first = hidden({k, k, k, k, 1, 2, 3, 4}), other = hidden({k, k, k, k, 1, 5, 3, 4}),
             last = hidden({k, k, k, k, 1, 2, 3, 6});
  EXPECT_GT((first - other)[0].abs().max().item<float>(), 1e-4);
  EXPECT_TRUE(close(first.slice(0, 0, 7), last.slice(0, 0, 7), 1e-6));

  // A prompt is a prefix as a whole, and a generated token behind it is not of it.
  const auto ids = rows({{k, k, k, k, 1, 2}});
  auto prompt = model->splice({.ids = ids}, visual);
  EXPECT_TRUE(torch::equal(prompt.spans, torch::ones_like(ids)));
  weft::nn::KeyValueCache cache;
  prompt.cache = &cache;
  EXPECT_TRUE(close(model->language->forward(prompt).hidden[0], first.slice(0, 0, 6), 1e-5));
  const auto next = model->prompt({.ids = rows({{3}}), .cache = &cache});
  EXPECT_FALSE(next.spans.defined());
  EXPECT_TRUE(close(model->language->forward(next).hidden[0], first.slice(0, 6, 7), 1e-4));
  EXPECT_TRUE(torch::equal(model->prompt({.ids = rows({{1, 2}})}).spans, rows({{1, 1}})));
  EXPECT_FALSE(make()->splice({.ids = ids}, visual).spans.defined());
}

TEST(Vlm, ReadsSeveralLayersOrTheFinalNorm) {
  auto several = make({.image_token = kImage, .vision_layers = {-1, 0}, .keep_prefix = true}, 16);
  const auto pixels = torch::randn({2, 3, 8, 8});
  const auto out = several->vision->encode({.data = pixels}, {.hidden_layers = {3, 0}});
  EXPECT_TRUE(close(
      several->embed_images({.data = pixels}),
      several->connector->connect({.visual = {.tokens = torch::cat(out.hidden, 2)}}).tokens, 1e-6));
  auto last = make({.image_token = kImage, .vision_layers = {}});
  const auto tokens = last->vision->encode({.data = pixels}).tokens.slice(1, 1);
  EXPECT_TRUE(close(last->embed_images({.data = pixels}),
                    last->connector->connect({.visual = {.tokens = tokens}}).tokens, 1e-6));
}

TEST(Vlm, PassesTilesOnToTheConnector) {
  auto connector = std::make_shared<weft::fusion::AnyResImpl>(
      projector(), weft::fusion::AnyResOptions{.tile_size = 8, .grid_pinpoints = {{8, 16}}});
  Vlm model(tower(), connector, decoder(), VlmOptions{.image_token = kImage});
  randomize(model);
  model->eval();
  const auto pixels = torch::randn({4, 3, 8, 8});
  const auto images = rows({{0, 1, 2, 10, 20, 1}, {3, 0, 0, 5, 5, 1}});
  const auto visual = model->embed_images({.data = pixels, .images = images});
  ASSERT_EQ(visual.sizes(), (std::vector<int64_t>{1, 4 + 2 * 5 + 5, 12}));
  const auto ids = torch::cat({torch::full({1, 19}, kImage), rows({{1, 2, 3}})}, 1);
  const auto read = model->splice({.ids = ids}, visual);
  EXPECT_TRUE(torch::equal(read.embeddings.slice(1, 0, 19), visual));
  EXPECT_TRUE(
      torch::equal(model->forward({{.ids = ids}, {.data = pixels, .images = images}}).logits,
                   model->language->forward(read).logits));
}

TEST(Vlm, GradientsReachAllThreeParts) {
  auto model = make();
  model->train();
  const auto ids = rows({{1, kImage, kImage, kImage, kImage, 2}});
  model->forward({{.ids = ids}, {.data = torch::randn({1, 3, 8, 8})}})
      .logits.square()
      .mean()
      .backward();
  for (const auto* name : {"vision.patch_embed.weight", "connector.layers_0.weight",
                           "language.token_embed.weight", "language.blocks.0.attention.q.weight"})
    EXPECT_GT(model->named_parameters()[name].grad().abs().max().item<float>(), 0) << name;
  // The encoder is left behind the layer that is read.
  EXPECT_FALSE(model->named_parameters()["vision.blocks.2.norm1.weight"].grad().defined());
}

TEST(VlmErrors, NameWhatDoesNotFit) {
  auto model = make();
  const auto pixels = torch::randn({1, 3, 8, 8});
  EXPECT_THAT(
      [&] {
        model->forward({{.ids = rows({{1, kImage, 2}})}, {.data = pixels}});
      },
      ThrowsMessage<c10::Error>(AllOf(HasSubstr("1"), HasSubstr("4"))));
  EXPECT_THAT(
      [] {
        make({.image_token = kImage, .vision_layers = {1, 2}});
      },
      ThrowsMessage<c10::ValueError>(
          HasSubstr("the connector reads tokens of 8, the encoder gives 16")));
  EXPECT_THAT(
      [] { make({.image_token = kImage, .vision_layers = {-5}}); },
      ThrowsMessage<c10::ValueError>(HasSubstr("vision layer -5 is none of the encoder's 0 to 3")));
}

}  // namespace vlm_test
