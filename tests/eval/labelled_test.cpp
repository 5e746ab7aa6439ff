#include <cstdio>
#include <fstream>
#include <sstream>

#include <torch/types.h>
#include <torch/utils.h>

#include <weft/checkpoint/dual_encoder_folder.hpp>
#include <weft/eval/clip_report.hpp>
#include <weft/eval/labelled.hpp>
#include <weft/tokenizers/bpe_trainer.hpp>
#include <weft/vision/image_batch.hpp>

#include "data/test_shards.hpp"
#include "support/gmock.hpp"
#include "support/tensors.hpp"

namespace labelled_test {

using namespace weft::test;
using weft::Error;
using weft::Json;
using weft::data::ImageTextLoader;

/// Samples of class number % 3, and a small dual encoder.
struct Split {
  explicit Split(int64_t count) {
    std::vector<TestSample> samples;
    for (int64_t i = 0; i < count; ++i) {
      samples.push_back(sample_of(20 * i));
      samples.back().fields["cls"] = std::to_string(i % 3) + "\n";
      samples.back().fields.erase("txt");
    }
    write_shard(shard(), samples);
    tokenizer =
        weft::tokenizers::train_byte_level_bpe({"a b c"}, {.vocab_size = 260, .min_frequency = 1});
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
  std::string shard() const { return folder / "s.tar"; }
  ImageTextLoader loader(const weft::vision::ImageTransformOptions& transform) const {
    return ImageTextLoader({.shards = shard(),
                            .batch_size = 2,
                            .workers = 1,
                            .shuffle = false,
                            .drop_last = false,
                            .needs_caption = false,
                            .needs_label = true,
                            .transform = transform});
  }

  TempFolder folder;
  std::shared_ptr<weft::tokenizers::Tokenizer> tokenizer;
  weft::checkpoint::DualEncoderFolder clip;
};

TEST(LabelledFeatures, AreTheTowersOfEverySampleWithItsLabel) {
  Split split(7);
  const auto root = split.folder.path() / "model";
  weft::checkpoint::save_dual_encoder(split.clip, root);
  weft::report::Stages stages;
  const auto features = [&](const std::filesystem::path& folder,
                            const weft::eval::ImageTowerOptions& options, int64_t chunk) {
    const auto tower = weft::eval::load_image_tower(folder, options);
    auto loader = split.loader(tower.transform);
    return weft::eval::labelled_features(tower, loader, {.image_batch = 3, .chunk = chunk}, stages);
  };
  const auto whole = features(root, {}, 100), parts = features(root, {}, 2);
  EXPECT_TRUE(torch::equal(whole.labels, torch::tensor({0, 1, 2, 0, 1, 2, 0}, torch::kLong)));
  EXPECT_TRUE(torch::equal(parts.labels, whole.labels));
  EXPECT_EQ(whole.keys, parts.keys);
  EXPECT_EQ(whole.largest_label(), 2);
  EXPECT_TRUE(close(parts.features, whole.features, 1e-5));

  auto loader = split.loader(split.clip.transform);
  std::vector<torch::Tensor> pixels;
  while (const auto batch = loader.next()) pixels.push_back(batch->pixels);
  torch::NoGradGuard no_grad;
  const weft::EncoderInput input{.data = torch::cat(pixels)};
  EXPECT_TRUE(close(whole.features, split.clip.model->image_features(input), 1e-5));
  EXPECT_TRUE(close(features(root, {.projected = true}, 100).features,
                    split.clip.model->encode_image(input), 1e-5));
  // One tower by itself, pooled as asked.
  const auto tokens = split.clip.image.encoder->encode(input).tokens;
  EXPECT_TRUE(close(features(root / "image", {.pool = weft::nn::Pooling::cls}, 100).features,
                    tokens.select(1, 0), 1e-5));
}

TEST(LabelledFeatures, NameWhatDoesNotFit) {
  Split split(4);
  const auto root = split.folder.path() / "model";
  weft::checkpoint::save_dual_encoder(split.clip, root);
  using weft::eval::load_image_tower;
  EXPECT_THAT([&] { load_image_tower(root, {.pool = weft::nn::Pooling::cls}); },
              ThrowsMessage<Error>(HasSubstr("--pool")));
  EXPECT_THAT([&] { load_image_tower(root / "image", {.projected = true}); },
              ThrowsMessage<Error>(HasSubstr("--projected")));
  EXPECT_THAT([&] { load_image_tower(root / "text"); },
              ThrowsMessage<Error>(HasSubstr("found the text encoder 'bert'")));
  weft::report::Stages stages;
  const auto tower = load_image_tower(root);
  auto loader = split.loader(tower.transform);
  EXPECT_THAT([&] { weft::eval::labelled_features(tower, loader, {}, stages, 2); },
              ThrowsMessage<Error>(HasSubstr("label 2 has no class: there are 2")));
}

TEST(ClipReport, DrawsTheSharedSpaceAndTheConfusion) {
  torch::manual_seed(0);
  const auto unit = [](torch::Tensor x) { return x / x.norm(2, 1, true); };
  const weft::eval::PairRows rows{unit(torch::randn({3, 4})), unit(torch::randn({4, 4}))};
  const weft::eval::PairFeatures pairs{.image = rows.image,
                                       .text = rows.text,
                                       .owner = torch::tensor({0, 0, 1, 2}, torch::kLong),
                                       .keys = {"k0", "k1", "k2"},
                                       .captions = {"a <b>", "another", "c & d", "e"}};
  weft::report::HtmlReport page("x");
  weft::eval::add_space_figures(page, rows, pairs, 2);
  weft::eval::add_classification(
      page, weft::eval::classification(torch::eye(2), torch::tensor({0, 1}, torch::kLong)), {});
  weft::eval::add_curves(page, {{.step = 1, .loss = 2, .extra = {{"logit_scale", 10}}},
                                {.step = 2, .loss = 1, .extra = {{"logit_scale", 20}}}});
  const TempFolder folder;
  page.write(folder / "page.html");
  std::ostringstream text;
  text << std::ifstream(folder / "page.html").rdbuf();
  // Two images, each with its first caption.
  const auto cosine = rows.image[0].dot(rows.text[2]).item<double>();
  char title[64];
  std::snprintf(title, sizeof(title), "<title>k0 | c &amp; d: %.4g</title>", cosine);
  for (const std::string& part : std::vector<std::string>{
           title, "<title>k1 | a &lt;b&gt;: ", "<title>0 | 0: 1</title>", "<title>0 | 1: 0</title>",
           "Distance of the modalities", "temperature, exp(-tau)", "100.0 %"})
    EXPECT_THAT(text.str(), HasSubstr(part));
  EXPECT_THAT(text.str(), Not(HasSubstr("another")));
  EXPECT_THAT(text.str(), Not(HasSubstr("distance of the modalities' means")));
}

}  // namespace labelled_test
