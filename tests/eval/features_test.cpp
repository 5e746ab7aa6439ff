#include <fstream>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>

#include <torch/types.h>
#include <torch/utils.h>

#include <weft/checkpoint/dual_encoder_folder.hpp>
#include <weft/data/captions.hpp>
#include <weft/eval/clip_report.hpp>
#include <weft/eval/embedder.hpp>
#include <weft/eval/features.hpp>
#include <weft/io/tar.hpp>
#include <weft/report/stages.hpp>
#include <weft/tokenizers/bpe_trainer.hpp>
#include <weft/vision/image_batch.hpp>

#include "support/temp_folder.hpp"

namespace features_test {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::Error;
using weft::Json;

/// Image i is one colour; two captions each.
struct Split {
  explicit Split(int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      weft::io::Image image{16, 16,
                            std::vector<uint8_t>(16 * 16 * 3, static_cast<uint8_t>(20 * i))};
      images.push_back(image);
      for (const char* article : {"a ", "the "}) captions.push_back(article + std::to_string(i));
    }
    weft::io::TarWriter tar(folder.path() / "s.tar");
    for (int64_t i = 0; i < count; ++i) {
      const auto key = "k" + std::to_string(i);
      tar.add(key + ".png", weft::io::encode_png(images[i]));
      tar.add(key + ".json",
              Json::object(
                  {{"captions", std::vector<std::string>{captions[2 * i], captions[2 * i + 1]}}})
                  .dump());
    }
    tar.close();
    tokenizer =
        weft::tokenizers::train_byte_level_bpe(captions, {.vocab_size = 270, .min_frequency = 1});
    torch::manual_seed(0);
    clip.image =
        weft::checkpoint::make_encoder("vit_tiny", weft::checkpoint::Role::image,
                                       Json::object({{"image_size", 16}, {"num_layers", 1}}));
    clip.text = weft::checkpoint::make_encoder(
        "text_tiny", weft::checkpoint::Role::text,
        Json::object({{"vocab_size", tokenizer->vocab_size()}, {"num_layers", 1}}));
    clip.model = weft::models::DualEncoder(
        clip.image.encoder, clip.text.encoder,
        weft::models::DualEncoderOptions{.embed_dim = 8, .text_pool = weft::nn::Pooling::mean});
    clip.model->eval();
    clip.tokenizer = tokenizer;
    clip.transform.size = 16;
  }
  weft::data::ImageTextLoader loader() const {
    return weft::data::ImageTextLoader({.shards = shard(),
                                        .batch_size = 2,
                                        .workers = 1,
                                        .shuffle = false,
                                        .drop_last = false,
                                        .transform = clip.transform});
  }
  std::string shard() const { return (folder.path() / "s.tar").string(); }

  weft::test::TempFolder folder;
  std::vector<weft::io::Image> images;
  std::vector<std::string> captions;
  std::shared_ptr<weft::tokenizers::Tokenizer> tokenizer;
  weft::checkpoint::DualEncoderFolder clip;
};

TEST(PairFeatures, AreTheTowersOfEverySampleInAnyChunks) {
  Split split(5);
  weft::report::Stages stages;
  std::vector<std::string> seen;
  auto whole = split.loader();
  const auto pairs =
      weft::eval::pair_features(*split.clip.model, *split.tokenizer, whole, {}, stages);
  auto again = split.loader();
  const auto chunks = weft::eval::pair_features(*split.clip.model, *split.tokenizer, again,
                                                {.image_batch = 3, .chunk = 2}, stages);
  EXPECT_THAT(pairs.keys, ElementsAre("k0", "k1", "k2", "k3", "k4"));
  EXPECT_EQ(pairs.captions, split.captions);
  EXPECT_TRUE(pairs.owner.equal(torch::arange(5).repeat_interleave(2)));
  EXPECT_LT((pairs.image - chunks.image).abs().max().item<float>(), 1e-5);
  EXPECT_LT((pairs.text - chunks.text).abs().max().item<float>(), 1e-5);
  torch::NoGradGuard no_grad;
  const auto pixels = weft::vision::to_pixels(split.images, split.clip.transform);
  const auto expected = split.clip.model->image_features({.data = pixels});
  EXPECT_LT((pairs.image - expected).abs().max().item<float>(), 1e-5);
  EXPECT_THAT(stages.json().keys(), ElementsAre("load", "image_features", "text_features"));
}

TEST(Embedder, GivesUnitRowsOfADualEncoderAndOfOneTower) {
  Split split(3);
  const auto root = split.folder.path() / "model";
  weft::checkpoint::save_dual_encoder(split.clip, root);
  weft::eval::Embedder both(root);
  const auto images = both.images(split.images), texts = both.texts(split.captions);
  EXPECT_EQ(images.sizes(), (std::vector<int64_t>{3, 8}));
  EXPECT_EQ(texts.sizes(), (std::vector<int64_t>{6, 8}));
  EXPECT_LT((images.norm(2, {1}) - 1).abs().max().item<float>(), 1e-5);

  weft::eval::Embedder one(root / "image", {.pool = weft::nn::Pooling::mean});
  torch::NoGradGuard no_grad;
  const auto tokens =
      split.clip.image.encoder
          ->encode({.data = weft::vision::to_pixels(split.images, split.clip.transform)})
          .tokens;
  auto expected = tokens.narrow(1, 1, tokens.size(1) - 1).mean(1);
  expected = expected / expected.norm(2, {1}, true);
  EXPECT_LT((one.images(split.images) - expected).abs().max().item<float>(), 1e-5);
  EXPECT_THAT([&] { one.texts({"a"}); }, ThrowsMessage<Error>(HasSubstr("no text encoder")));
  EXPECT_THAT([&] { weft::eval::Embedder(root, {.pool = weft::nn::Pooling::cls}); },
              ThrowsMessage<Error>(HasSubstr("--pool")));
}

TEST(Captions, ComeInTheOrderOfTheShards) {
  Split split(3);
  EXPECT_EQ(weft::data::read_captions(split.shard()), split.captions);
  EXPECT_EQ(weft::data::read_captions(split.shard(), 3).size(), 3u);
}

TEST(ClipReport, ShowsRecallsCurvesAndThumbnails) {
  Split split(3);
  weft::report::Stages stages;
  auto loader = split.loader();
  const auto pairs =
      weft::eval::pair_features(*split.clip.model, *split.tokenizer, loader, {}, stages);
  const auto rows = weft::eval::embed(*split.clip.model, pairs);
  const auto examples = weft::eval::retrieval_examples(
      rows.image, rows.text, pairs, weft::vision::to_pixels(split.images, split.clip.transform), 2);
  ASSERT_EQ(examples.size(), 3u);
  EXPECT_THAT(examples[1].captions, ElementsAre("a 1", "the 1"));
  ASSERT_EQ(examples[1].retrieved.size(), 2u);
  EXPECT_GE(examples[1].retrieved[0].score, examples[1].retrieved[1].score);
  std::ofstream(split.folder.path() / "metrics.jsonl")
      << R"({"step":1,"epoch":0.5,"samples":2,"loss":2.5,"lr":0.001,"grad_norm":1,"samples_per_second":9,"data_wait":0})"
      << '\n';
  const auto recall = Json::object({{"r1", 0.25}, {"r5", 0.5}, {"r10", 1.0}});
  const auto path = weft::eval::write_clip_report(
      split.folder.path(), *split.clip.model,
      Json::object(
          {{"image_to_text", recall}, {"text_to_image", recall}, {"seconds", stages.json()}}),
      Json::object({{"seed", 1}}),
      {pairs, rows, weft::vision::to_pixels(split.images, split.clip.transform)});
  std::ostringstream page;
  page << std::ifstream(path).rdbuf();
  for (const auto* part :
       {"25.0 %", "<svg", "data:image/jpeg;base64", "the 1", "seed", "Attention rollout"})
    EXPECT_THAT(page.str(), HasSubstr(part));
}

TEST(Stages, AddUpToTheWhole) {
  weft::report::Stages stages;
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  stages.lap("a");
  stages.lap("b");
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  stages.lap("a");
  EXPECT_THAT(stages.json().keys(), ElementsAre("a", "b"));
  EXPECT_GE(stages.total(), 0.04);
  EXPECT_GE(stages.json().at("a").as_double(), 0.04);
}

}  // namespace features_test
