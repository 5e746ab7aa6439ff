#include <torch/types.h>
#include <torch/utils.h>

#include <weft/checkpoint/classifier_folder.hpp>
#include <weft/eval/classify.hpp>
#include <weft/eval/embedder.hpp>
#include <weft/eval/labelled.hpp>

#include "data/test_shards.hpp"
#include "support/gmock.hpp"
#include "support/gradcheck.hpp"
#include "support/tensors.hpp"

namespace classify_test {

using namespace weft::test;
using weft::Error;
using weft::Json;
using weft::checkpoint::ImageClassifierFolder;
using weft::data::ImageTextLoader;

static ImageClassifierFolder classifier(int64_t classes) {
  auto image =
      weft::checkpoint::make_encoder("vit_tiny", weft::checkpoint::Role::image,
                                     Json::object({{"image_size", 16}, {"num_layers", 1}}));
  auto out = weft::checkpoint::make_image_classifier(
      image, {.num_classes = classes, .pool = weft::nn::Pooling::cls_mean, .dropout = 0.5});
  randomize(out.model);
  return out;
}

static std::string write(const TempFolder& folder) {
  std::vector<TestSample> samples;
  for (int64_t i = 0; i < 10; ++i) {
    samples.push_back(sample_of(25 * i));
    samples.back().fields["cls"] = std::to_string(i % 4);
  }
  write_shard(folder / "s.tar", samples);
  return folder / "s.tar";
}

static ImageTextLoader loader(const std::string& shards) {
  return ImageTextLoader({.shards = shards,
                          .batch_size = 3,
                          .workers = 1,
                          .shuffle = false,
                          .drop_last = false,
                          .needs_caption = false,
                          .needs_label = true,
                          .transform = {.size = 16}});
}

TEST(Classify, CountsEverySampleOnceInWhateverChunks) {
  const TempFolder folder;
  const auto shards = write(folder);
  auto model = classifier(4).model;
  model->train();  // evaluated without dropout all the same
  weft::report::Stages stages;
  const auto run = [&](int64_t batch, int64_t chunk) {
    auto data = loader(shards);
    return weft::eval::classify(*model, data, {.image_batch = batch, .chunk = chunk}, stages);
  };
  const auto whole = run(64, 100), parts = run(2, 4);
  EXPECT_TRUE(model->is_training());

  std::vector<torch::Tensor> pixels, labels;
  auto data = loader(shards);
  while (const auto batch = data.next()) {
    pixels.push_back(batch->pixels);
    labels.push_back(batch->labels);
  }
  const torch::NoGradGuard no_grad;
  model->eval();
  const auto guess = model->forward({.data = torch::cat(pixels)}).argmax(1);
  const auto right = torch::cat(labels).eq(guess).sum().item<int64_t>();
  EXPECT_EQ(whole.samples, 10);
  EXPECT_NEAR(whole.top1, static_cast<double>(right) / 10, 1e-12);
  EXPECT_TRUE(torch::equal(whole.confusion.sum(0), torch::bincount(guess, {}, 4)));
  EXPECT_TRUE(torch::equal(parts.confusion, whole.confusion));
  EXPECT_EQ(stages.json().keys(), (std::vector<std::string>{"load", "classify"}));
}

TEST(Classify, NamesTheSampleOfALabelWithoutAClass) {
  const TempFolder folder;
  auto data = loader(write(folder));
  weft::report::Stages stages;
  EXPECT_THAT([&] { weft::eval::classify(*classifier(3).model, data, {}, stages); },
              ThrowsMessage<Error>(HasSubstr("sample 'k00075': label 3 has no class")));
}

TEST(ImageTower, OfAClassifierIsWhatItsHeadReads) {
  const TempFolder folder;
  auto made = classifier(4);
  made.transform.size = 16;
  weft::checkpoint::save_image_classifier(made, folder / "run" / "model");
  made.model->eval();
  const torch::NoGradGuard no_grad;
  const weft::EncoderInput input{.data = torch::randint(256, {2, 3, 16, 16}).to(torch::kByte)};
  const auto tower = weft::eval::load_image_tower(folder / "run");
  EXPECT_EQ(tower.transform.size, 16);
  EXPECT_TRUE(close(tower.encode(input), made.model->features(input), 1e-6));
  const auto mean = weft::eval::load_image_tower(folder / "run", {.pool = weft::nn::Pooling::mean});
  EXPECT_EQ(mean.encode(input).size(1), made.model->encoder->info().hidden_size);
  EXPECT_THAT([&] { weft::eval::load_image_tower(folder / "run", {.projected = true}); },
              ThrowsMessage<Error>(HasSubstr("--projected")));

  const auto image =
      weft::io::decode_image(std::as_bytes(std::span(sample_of(7).fields.at("png"))), "sample");
  weft::eval::Embedder embedder(folder / "run");
  const auto row = tower.encode({.data = weft::vision::to_pixels({image}, tower.transform)});
  EXPECT_TRUE(close(embedder.images({image}), row / row.norm(), 1e-6));
  EXPECT_THAT([&] { embedder.texts({"a"}); },
              ThrowsMessage<Error>(HasSubstr("this model has no text encoder")));
}

}  // namespace classify_test
