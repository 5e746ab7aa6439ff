#include <torch/torch.h>

#include <weft/models/dual_encoder.hpp>
#include <weft/text/decoder_lm.hpp>
#include <weft/text/lm_encoder.hpp>
#include <weft/vision/vision_transformer.hpp>

#include "support/gmock.hpp"
#include "support/gradcheck.hpp"
#include "support/tensors.hpp"

namespace lm_encoder_test {

using namespace weft::test;
using weft::nn::Pooling;
using weft::text::DecoderLmImpl;
using weft::text::DecoderLmOptions;
using weft::text::LmEncoder;

std::shared_ptr<DecoderLmImpl> decoder(int64_t embed_size = 0) {
  auto out = std::make_shared<DecoderLmImpl>(DecoderLmOptions{
      .vocab_size = 31,
      .num_layers = 2,
      .block = {.attention = {.hidden_size = 16, .num_heads = 4, .num_kv_heads = 2},
                .mlp = {.hidden_size = 16, .intermediate_size = 24, .gated = true},
                .norm = weft::nn::NormKind::rms_norm},
      .rotary = {.dim = 4},
      .embed_size = embed_size});
  randomize(out);
  out->eval();
  return out;
}

torch::Tensor random_ids(int64_t rows, int64_t columns) {
  return torch::randint(0, 31, {rows, columns}, torch::kLong);
}

// The definition, by the language model itself, each text alone.
TEST(LmEncoder, PoolsWhatEntersTheHead) {
  const auto language = decoder();
  const std::vector<int64_t> lengths = {9, 1, 5};
  const auto ids = random_ids(3, 9);
  const auto mask = torch::arange(9).unsqueeze(0) < torch::tensor(lengths).unsqueeze(1);
  for (const auto pooling : {Pooling::last, Pooling::mean}) {
    LmEncoder encoder(language, weft::text::LmEncoderOptions{.pooling = pooling});
    const auto out = encoder->encode({.data = ids, .mask = mask});
    ASSERT_EQ(out.pooled.sizes(), (std::vector<int64_t>{3, 16}));
    EXPECT_TRUE(torch::equal(out.mask, mask));
    for (int64_t i = 0; i < 3; ++i) {
      const auto length = lengths[static_cast<size_t>(i)];
      const auto hidden = language->forward({.ids = ids.slice(0, i, i + 1).slice(1, 0, length)})
                              .hidden[0];  // [length, E]
      EXPECT_TRUE(close(out.tokens[i].slice(0, 0, length), hidden, 1e-5));
      EXPECT_TRUE(close(out.pooled[i],
                        pooling == Pooling::last ? hidden[length - 1] : hidden.mean(0), 1e-5));
    }
    // Padding on the left is left out as well.
    const auto flipped =
        torch::cat({torch::zeros({1, 4}, torch::kLong), ids.slice(0, 2).slice(1, 0, 5)}, 1);
    const auto left =
        encoder->encode({.data = flipped, .mask = (torch::arange(9) >= 4).unsqueeze(0)});
    EXPECT_TRUE(close(left.pooled[0], out.pooled[2], 1e-5));
    EXPECT_TRUE(
        close(encoder->encode({.data = ids.slice(0, 0, 1)}).pooled[0], out.pooled[0], 1e-5));
  }
}

TEST(LmEncoder, GivesLayersAndLeavesEarly) {
  const auto language = decoder(10);
  LmEncoder encoder(language);
  const auto info = encoder->info();
  EXPECT_EQ(info.family, "llama");
  EXPECT_EQ(info.hidden_size, 10);
  EXPECT_EQ(info.pooled_size, 10);
  EXPECT_EQ(info.vocab_size, 31);
  const auto ids = random_ids(2, 6);
  const auto layers = language->forward({.ids = ids, .hidden_layers = {0, -1, 1}}).layers;
  const auto out = encoder->encode({.data = ids}, {.hidden_layers = {0, -1, 1}});
  ASSERT_EQ(out.hidden.size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(torch::equal(out.hidden[i], layers[i]));
  EXPECT_EQ(out.tokens.sizes(), (std::vector<int64_t>{2, 6, 10}));
  const auto early = encoder->encode({.data = ids}, {.hidden_layers = {0}, .stop_after = 1});
  EXPECT_TRUE(torch::equal(early.tokens, layers[2]));
  ASSERT_EQ(early.hidden.size(), 1u);
  EXPECT_TRUE(torch::equal(early.hidden[0], layers[0]));
  EXPECT_FALSE(early.pooled.defined());
}

TEST(LmEncoder, TrainsInADualEncoderOrIsLocked) {
  for (const bool locked : {false, true}) {
    weft::models::DualEncoder model(std::make_shared<weft::vision::VisionTransformerImpl>(
                                        weft::vision::VisionTransformerOptions{.image_size = 8,
                                                                               .patch_size = 4,
                                                                               .hidden_size = 8,
                                                                               .num_layers = 1,
                                                                               .num_heads = 2}),
                                    std::make_shared<weft::text::LmEncoderImpl>(decoder()),
                                    weft::models::DualEncoderOptions{.embed_dim = 6});
    if (locked) model->lock_text();
    model->train();
    const auto mask = torch::arange(5).unsqueeze(0) < torch::tensor({{5}, {3}, {1}});
    model
        ->loss(model->encode_image({.data = torch::randn({3, 3, 8, 8})}),
               model->encode_text({.data = random_ids(3, 5), .mask = mask}))
        .backward();
    int64_t reached = 0;
    for (const auto& item : model->text->named_parameters()) {
      const auto& gradient = item.value().grad();
      const bool moves = gradient.defined() && max_norm(gradient) > 0;
      reached += moves;
      EXPECT_EQ(moves, !locked && item.key() != "language.lm_head.weight") << item.key();
    }
    EXPECT_EQ(reached > 0, !locked);
    EXPECT_EQ(model->text->is_training(), !locked);
    EXPECT_TRUE(model->text_projection->weight.grad().defined());
  }
}

TEST(LmEncoderErrors, NameWhatDoesNotFit) {
  EXPECT_THAT([] { LmEncoder(decoder(), weft::text::LmEncoderOptions{.pooling = Pooling::cls}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("pooling must be last or mean")));
  LmEncoder encoder(decoder());
  EXPECT_THAT([&] { encoder->encode({}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("input.data (ids) is missing")));
  EXPECT_THAT([&] { encoder->encode({.data = random_ids(1, 3)}, {.stop_after = 3}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("between 0 and 2, got 3")));
}

}  // namespace lm_encoder_test
