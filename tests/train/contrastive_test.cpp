#include <torch/types.h>
#include <torch/utils.h>

#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/eval/features.hpp>
#include <weft/eval/negatives.hpp>
#include <weft/tokenizers/bpe_trainer.hpp>
#include <weft/train/contrastive.hpp>

#include "support/gmock.hpp"

namespace contrastive_test {

using namespace weft::test;
using weft::Json;

static weft::models::DualEncoder model() {
  torch::manual_seed(0);
  auto image =
      weft::checkpoint::make_encoder("vit_tiny", weft::checkpoint::Role::image,
                                     Json::object({{"image_size", 16}, {"num_layers", 1}}));
  auto text =
      weft::checkpoint::make_encoder("text_tiny", weft::checkpoint::Role::text,
                                     Json::object({{"vocab_size", 300}, {"num_layers", 1}}));
  return weft::models::DualEncoder(
      image.encoder, text.encoder,
      weft::models::DualEncoderOptions{.embed_dim = 8, .text_pool = weft::nn::Pooling::mean});
}

static weft::eval::PairFeatures pairs(int64_t count, int64_t width) {
  weft::eval::PairFeatures out{torch::randn({count, width}),
                               torch::randn({2 * count, width}),
                               torch::arange(count).repeat_interleave(2),
                               {},
                               {}};
  for (int64_t i = 0; i < count; ++i) {
    out.keys.push_back(std::to_string(i));
    out.captions.push_back("a " + std::to_string(i));
    out.captions.push_back("the " + std::to_string(i));
  }
  return out;
}

TEST(CachedPairTask, IsAPermutationAnEpochAndGoesOnExactly) {
  auto clip = model();
  clip->lock_image();
  clip->lock_text();
  const auto features = pairs(10, 192);
  weft::train::CachedPairTask task(clip, nullptr, features, 3, 5);
  ASSERT_EQ(task.steps_per_epoch(), 3);
  for (int i = 0; i < 4; ++i) task.step();
  const auto state = task.state();
  const auto expected = task.step().loss.item<float>();
  weft::train::CachedPairTask other(clip, nullptr, features, 3, 5);
  other.restore(state);
  const auto step = other.step();
  EXPECT_EQ(step.loss.item<float>(), expected);
  EXPECT_EQ(step.samples, 3);
  EXPECT_FALSE(step.epoch_end);
  EXPECT_TRUE(other.step().epoch_end);
  weft::train::CachedPairTask small(clip, nullptr, pairs(4, 192), 3, 5);
  EXPECT_THAT([&] { small.restore(state); },
              ThrowsMessage<weft::Error>(HasSubstr("samples 10, this run has 4")));
  EXPECT_THAT(
      [&] { weft::train::CachedPairTask(clip, nullptr, features, 11, 5); },
      ThrowsMessage<weft::Error>(HasSubstr("a batch of 11 samples cannot be made from 10")));
}

TEST(CachedPairTask, EncodesCaptionsWhereTheTextTowerTrains) {
  auto clip = model();
  clip->lock_image();
  auto features = pairs(6, 192);
  features.text = torch::Tensor();
  auto tokenizer = weft::tokenizers::train_byte_level_bpe(features.captions,
                                                          {.vocab_size = 280, .min_frequency = 1});
  weft::train::CachedPairTask task(clip, tokenizer, features, 6, 1);
  task.step().loss.backward();
  EXPECT_TRUE(clip->text->named_parameters()["token_embed.weight"].grad().defined());
  EXPECT_FALSE(clip->image->named_parameters()["class_token"].grad().defined());
}

TEST(EncodeTexts, DoesNotDependOnTheBatches) {
  auto clip = model();
  clip->eval();
  std::vector<std::string> texts;
  for (int i = 0; i < 9; ++i) texts.push_back(std::string(1 + 3 * (i * 7 % 9), 'a'));
  auto tokenizer =
      weft::tokenizers::train_byte_level_bpe(texts, {.vocab_size = 270, .min_frequency = 1});
  const auto whole = weft::eval::text_features(*clip, *tokenizer, texts, {.text_batch = 100});
  const auto parts = weft::eval::text_features(*clip, *tokenizer, texts, {.text_batch = 2});
  EXPECT_LT((whole - parts).abs().max().item<float>(), 1e-5);
  const auto alone = weft::eval::text_features(*clip, *tokenizer, {texts[4]}, {});
  EXPECT_LT((whole[4] - alone[0]).abs().max().item<float>(), 1e-5);
}

TEST(Negatives, ScoreByTheDefinition) {
  auto clip = model();
  clip->eval();
  auto features = pairs(3, 192);
  auto tokenizer = weft::tokenizers::train_byte_level_bpe(features.captions,
                                                          {.vocab_size = 280, .min_frequency = 1});
  features.text = weft::eval::text_features(*clip, *tokenizer, features.captions, {});
  const auto rows = weft::eval::embed(*clip, features);
  // Image 0's wrong caption is its own right one: never preferred. Image 2 has none.
  const auto result =
      weft::eval::negatives(*clip, *tokenizer, features, rows, {{"0", "a 0"}, {"1", "the 2"}}, {});
  EXPECT_EQ(result.at("images").as_int(), 2);
  const auto wrong = rows.text[5], right = rows.text[2];
  const bool prefers =
      rows.image[1].dot(right).item<float>() > rows.image[1].dot(wrong).item<float>();
  EXPECT_EQ(result.at("prefers_right").as_double(), prefers ? 0.5 : 0.0);
}

}  // namespace contrastive_test
