#include <gmock/gmock.h>

#include <torch/types.h>

#include <weft/text/vocabulary.hpp>

namespace vocabulary_test {

using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::text::DecoderLm;
using weft::text::NewRows;
using weft::text::resize_vocabulary;

DecoderLm small(bool tied) {
  torch::manual_seed(3);
  weft::text::DecoderLmOptions options{.vocab_size = 11, .num_layers = 2, .block = {}};
  options.block.attention.hidden_size = 8;
  options.block.attention.num_heads = 2;
  options.block.mlp.hidden_size = 8;
  options.block.mlp.intermediate_size = 12;
  options.tie_embeddings = tied;
  return DecoderLm(options);
}

at::Tensor logits(DecoderLm& model) {
  const torch::NoGradGuard no_grad;
  return model->forward({.ids = torch::tensor({{1, 10, 3}}, torch::kLong)}).logits;
}

TEST(ResizeVocabulary, KeepsTheOldRowsAndAddsTheirMean) {
  for (const bool tied : {false, true}) {
    auto model = small(tied);
    const auto embed = model->token_embed->weight.detach().clone();
    const auto head = model->head().weight.detach().clone();
    const auto before = logits(model);
    EXPECT_EQ(resize_vocabulary(*model, 14), 14);
    EXPECT_EQ(model->info().vocab_size, 14);
    EXPECT_EQ(model->parameters()[0].size(0), 14);  // the registered parameter is the same one
    EXPECT_TRUE(torch::equal(model->token_embed->weight.narrow(0, 0, 11), embed));
    EXPECT_TRUE(torch::equal(model->head().weight.narrow(0, 0, 11), head));
    for (int64_t row = 11; row < 14; ++row) {
      EXPECT_TRUE(torch::allclose(model->token_embed->weight[row], embed.mean(0)));
      EXPECT_TRUE(torch::allclose(model->head().weight[row], head.mean(0)));
    }
    const auto after = logits(model);
    EXPECT_TRUE(torch::allclose(after.narrow(2, 0, 11), before, 1e-6, 1e-7));
    // New tokens are read, and gradients reach them.
    const auto ids = torch::tensor({{1, 13, 3}}, torch::kLong);
    model->forward({.ids = ids}).logits.sum().backward();
    EXPECT_GT(model->token_embed->weight.grad()[13].abs().sum().item<double>(), 0);
    resize_vocabulary(*model, 9);
    EXPECT_FALSE(model->token_embed->weight.grad().defined());
    EXPECT_TRUE(torch::equal(model->token_embed->weight, embed.narrow(0, 0, 9)));
    EXPECT_TRUE(model->token_embed->weight.requires_grad());
  }
}

TEST(ResizeVocabulary, RoundsUpAndDrawsAsAFreshModel) {
  auto model = small(false);
  EXPECT_EQ(resize_vocabulary(*model, 1000, {.rows = NewRows::init, .multiple_of = 64}), 1024);
  const auto fresh = model->token_embed->weight.detach().narrow(0, 11, 1013);
  EXPECT_NEAR(fresh.std().item<double>(), 0.02, 0.001);
  EXPECT_EQ(resize_vocabulary(*model, 1024, {.multiple_of = 64}), 1024);
}

TEST(ResizeVocabulary, KeepsTheElementType) {
  auto model = small(false);
  model->to(torch::kBFloat16);
  resize_vocabulary(*model, 12);
  EXPECT_EQ(model->token_embed->weight.scalar_type(), torch::kBFloat16);
  const auto mean = model->token_embed->weight.detach().narrow(0, 0, 11).to(torch::kFloat).mean(0);
  EXPECT_TRUE(torch::equal(model->token_embed->weight[11], mean.to(torch::kBFloat16)));
}

TEST(ResizeVocabulary, NamesWhatIsWrong) {
  auto model = small(false);
  EXPECT_THAT([&] { resize_vocabulary(*model, 0); },
              ThrowsMessage<c10::ValueError>(HasSubstr("got 0 and 1")));
}

}  // namespace vocabulary_test
