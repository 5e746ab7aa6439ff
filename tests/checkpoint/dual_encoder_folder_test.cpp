#include <gmock/gmock.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <fstream>

#include <weft/checkpoint/dual_encoder_folder.hpp>
#include <weft/checkpoint/preprocessor.hpp>
#include <weft/tokenizers/bpe_trainer.hpp>

#include "support/temp_folder.hpp"

namespace dual_encoder_folder_test {

using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::Error;
using weft::Json;
namespace checkpoint = weft::checkpoint;

static checkpoint::DualEncoderFolder small() {
  auto tokenizer =
      weft::tokenizers::train_byte_level_bpe({"a red circle", "a blue square"}, {.vocab_size = 280, .min_frequency = 1});
  checkpoint::DualEncoderFolder clip;
  clip.image = checkpoint::make_encoder("vit_tiny", Json::object({{"image_size", 32}, {"num_layers", 2}}));
  clip.text = checkpoint::make_encoder(
      "text_tiny", Json::object({{"vocab_size", tokenizer->vocab_size()}, {"num_layers", 2}}));
  clip.model = weft::models::DualEncoder(
      clip.image.encoder, clip.text.encoder,
      weft::models::DualEncoderOptions{.embed_dim = 24, .image_pool = weft::nn::Pooling::cls_mean,
                                       .text_pool = weft::nn::Pooling::mean});
  clip.tokenizer = tokenizer;
  clip.transform.size = 32;
  clip.transform.mean = {0.1, 0.2, 0.3};
  return clip;
}

TEST(DualEncoderFolder, ComesBackWithEqualOutputsOptionsAndIds) {
  const weft::test::TempFolder folder;
  auto clip = small();
  torch::NoGradGuard no_grad;
  clip.model->logit_scale.fill_(3.25);
  clip.model->eval();
  checkpoint::save_dual_encoder(clip, folder.path() / "run" / "model");
  EXPECT_TRUE(checkpoint::is_dual_encoder(folder.path() / "run"));
  EXPECT_FALSE(checkpoint::is_dual_encoder(folder.path() / "run" / "model" / "image"));

  auto back = checkpoint::load_dual_encoder(folder.path() / "run");
  const auto pixels = torch::rand({2, 3, 32, 32});
  EXPECT_TRUE(clip.model->encode_image({.data = pixels}).equal(back.model->encode_image({.data = pixels})));
  const auto ids = torch::arange(1, 13).view({2, 6});
  EXPECT_TRUE(clip.model->encode_text({.data = ids}).equal(back.model->encode_text({.data = ids})));
  EXPECT_EQ(back.model->logit_scale.item<float>(), 3.25f);
  EXPECT_EQ(weft::to_json(back.transform), weft::to_json(clip.transform));
  EXPECT_EQ(back.tokenizer->encode("a red square").ids, clip.tokenizer->encode("a red square").ids);
  // The tower's own folder carries the transform too, for whoever reads it alone.
  EXPECT_EQ(weft::to_json(checkpoint::read_preprocessor(folder.path() / "run/model/image")).at("mean"),
            weft::to_json(clip.transform).at("mean"));
}

TEST(DualEncoderFolder, ErrorsNameTheFolderAndWhatIsMissing) {
  const weft::test::TempFolder folder;
  EXPECT_THAT([&] { checkpoint::load_dual_encoder(folder.path()); }, ThrowsMessage<Error>(HasSubstr("weft_dual_encoder")));
  auto clip = small();
  clip.tokenizer = nullptr;
  EXPECT_THAT([&] { checkpoint::save_dual_encoder(clip, folder.path() / "m"); }, ThrowsMessage<Error>(HasSubstr("tokenizer")));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "m"));
}

TEST(Preprocessor, FollowsTheFormsOfHuggingFace) {
  const auto read = [](const char* text) { return checkpoint::image_transform(Json::parse(text)); };
  const auto dinov2 = read(R"({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224},
                               "do_center_crop": true, "resample": 3, "image_mean": [0.5, 0.5, 0.5]})");
  EXPECT_EQ(dinov2.resize, 256);
  EXPECT_EQ(dinov2.size, 224);
  EXPECT_FALSE(dinov2.squash);
  EXPECT_EQ(dinov2.filter, weft::io::Filter::bicubic);
  EXPECT_EQ(dinov2.mean, std::vector<double>(3, 0.5));
  const auto vit = read(R"({"size": {"height": 96, "width": 96}, "resample": 2})");
  EXPECT_TRUE(vit.squash);
  EXPECT_EQ(vit.size, 96);
  EXPECT_EQ(vit.filter, weft::io::Filter::bilinear);
  const auto old_clip = read(R"({"size": 224, "crop_size": 224, "do_center_crop": true, "do_normalize": false})");
  EXPECT_FALSE(old_clip.squash);
  EXPECT_EQ(old_clip.std, std::vector<double>(3, 1.0));
  for (const auto& transform : {dinov2, vit})
    EXPECT_EQ(weft::to_json(checkpoint::image_transform(checkpoint::preprocessor_json(transform))), weft::to_json(transform));
  EXPECT_THAT([&] { read(R"({"size": {"height": 96, "width": 90}})"); }, ThrowsMessage<Error>(HasSubstr("96 x 90")));
  EXPECT_THAT([&] { read(R"({"rescale_factor": 1.0})"); }, ThrowsMessage<Error>(HasSubstr("1/255")));
  EXPECT_THAT([&] { read(R"({"resample": 9})"); }, ThrowsMessage<Error>(HasSubstr("found 9")));
}

}  // namespace dual_encoder_folder_test
