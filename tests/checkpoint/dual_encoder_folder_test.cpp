#include <fstream>

#include <gmock/gmock.h>

#include <ATen/ATen.h>

#include <weft/checkpoint/dual_encoder_folder.hpp>
#include <weft/core/error.hpp>

#include "support/shared_data.hpp"
#include "support/temp_folder.hpp"

namespace dual_encoder_folder_test {

using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::checkpoint::DualEncoderFolder;
using weft::checkpoint::is_dual_encoder;
using weft::checkpoint::load_dual_encoder;
using weft::checkpoint::load_encoder;
using weft::checkpoint::make_encoder;
using weft::checkpoint::save_dual_encoder;
using weft::checkpoint::save_encoder;

// Small towers with MiniLM's tokenizer.
DualEncoderFolder make(const std::filesystem::path& tokenizer) {
  const auto small = weft::Json::object({{"hidden_size", 12}, {"num_layers", 1}, {"num_heads", 2}});
  DualEncoderFolder out;
  out.image = make_encoder("vit_tiny", weft::checkpoint::Role::image, small);
  out.text = make_encoder("text_small", weft::checkpoint::Role::text, small);
  out.model = weft::models::DualEncoder(
      out.image.encoder, out.text.encoder,
      weft::models::DualEncoderOptions{.embed_dim = 8, .image_pool = weft::nn::Pooling::cls_mean});
  out.tokenizer = weft::tokenizers::load_tokenizer(tokenizer);
  out.transform = {.size = 64, .resize = 72, .mean = {.1, .2, .3}, .std = {.4, .5, .6}};
  return out;
}

TEST(DualEncoderFolder, ComesBackWithEqualEmbeddings) {
  const auto tokenizer = weft::test::shared_file("data/tokenizers/minilm/tokenizer.json");
  WEFT_SKIP_WITHOUT(tokenizer);
  const weft::test::TempFolder folder;
  auto made = make(tokenizer);
  made.model->eval();
  save_dual_encoder(made, folder / "model");
  EXPECT_TRUE(is_dual_encoder(folder / "model"));
  auto loaded = load_dual_encoder(folder / "model");

  const at::NoGradGuard no_grad;
  EXPECT_EQ(weft::to_json(loaded.transform), weft::to_json(made.transform));
  EXPECT_EQ(loaded.tokenizer->pad_id(), made.tokenizer->pad_id());
  const auto normal = at::randn({2, 3, 64, 64});
  EXPECT_TRUE(at::equal(loaded.model->encode_image({.data = normal}),
                        made.model->encode_image({.data = normal})));
  const auto ids = at::tensor(made.tokenizer->encode("a photo of a dog").ids).unsqueeze(0);
  EXPECT_EQ(loaded.tokenizer->encode("a photo of a dog").ids,
            made.tokenizer->encode("a photo of a dog").ids);
  EXPECT_TRUE(
      at::equal(loaded.model->encode_text({.data = ids}), made.model->encode_text({.data = ids})));
  EXPECT_TRUE(at::equal(loaded.model->logit_scale, made.model->logit_scale));
  EXPECT_NO_THROW(load_encoder(folder / "model" / "text"));
}

TEST(DualEncoderFolder, KeepsTheVocabularyOfOpenAi) {
  const auto file = weft::test::shared_file("data/tokenizers/clip/bpe_simple_vocab_16e6.txt.gz");
  WEFT_SKIP_WITHOUT(file);
  const weft::test::TempFolder folder;
  save_dual_encoder(make(file), folder / "model");
  EXPECT_FALSE(std::filesystem::exists(folder / "model/tokenizer.json"));
  // open_clip's cleaning, not Hugging Face's.
  EXPECT_THAT(load_dual_encoder(folder / "model").tokenizer->encode("&amp;amp; \xEF\xAC\x81ne").ids,
              testing::ElementsAre(49406, 261, 3797, 49407));
}

// open_clip's layout says so itself, where a preprocessor_config.json could not.
TEST(DualEncoderFolder, OpenClipsLongestSideComesBack) {
  const weft::test::TempFolder folder;
  auto made = weft::checkpoint::make_dual_encoder(
      "ViT-S-32-alt", weft::Json::object({{"num_hidden_layers", 1}}),
      weft::Json::object({{"num_hidden_layers", 1}, {"vocab_size", 50}, {"eos_token_id", 49}}));
  made.transform.resize_mode = weft::vision::ResizeMode::longest;
  made.transform.resize = 0;
  save_dual_encoder(made, folder / "model", "open_clip");
  const auto loaded = load_dual_encoder(folder / "model");
  EXPECT_EQ(loaded.transform.resize_mode, weft::vision::ResizeMode::longest);
  save_dual_encoder(loaded, folder / "again", loaded.layout);
  EXPECT_EQ(weft::to_json(load_dual_encoder(folder / "again").transform),
            weft::to_json(loaded.transform));
}

// A model that is written over one of another layout is the one that is read.
TEST(DualEncoderFolder, NothingOfAnOlderModelIsReadInItsPlace) {
  const auto tokenizer = weft::test::shared_file("data/tokenizers/minilm/tokenizer.json");
  WEFT_SKIP_WITHOUT(tokenizer);
  const weft::test::TempFolder folder;
  const auto old = weft::checkpoint::make_dual_encoder(
      "ViT-S-32-alt", weft::Json::object({{"num_hidden_layers", 1}}),
      weft::Json::object({{"num_hidden_layers", 1}, {"vocab_size", 50}, {"eos_token_id", 49}}));
  save_dual_encoder(old, folder / "model", "open_clip");
  for (const char* name : {"bpe_simple_vocab_16e6.txt.gz", "notes.txt"})
    std::ofstream(folder / "model" / name) << "old";
  save_dual_encoder(make(tokenizer), folder / "model");
  const auto loaded = load_dual_encoder(folder / "model");
  EXPECT_EQ(loaded.layout, "");
  EXPECT_EQ(loaded.model->options.embed_dim, 8);
  EXPECT_EQ(loaded.tokenizer->file_name(), "tokenizer.json");
  EXPECT_TRUE(std::filesystem::exists(folder / "model/notes.txt"));
}

TEST(DualEncoderFolder, NamesTheWaysToATokenizer) {
  using weft::checkpoint::fail_without_tokenizer;
  const weft::test::TempFolder folder;
  const auto error = [&](const auto& matcher) {
    EXPECT_THAT([&] { fail_without_tokenizer(folder.path().string()); },
                ThrowsMessage<weft::Error>(matcher));
  };
  error(testing::AllOf(HasSubstr("tokenizer.json or OpenAI's bpe_simple_vocab_16e6.txt.gz there"),
                       HasSubstr("--tokenizer FILE|DIR")));
  std::ofstream(folder / "tokenizer.json") << R"({"model": {"type": "WordLevel"}})";
  error(testing::AllOf(HasSubstr("the model 'WordLevel' is not supported"),
                       HasSubstr("name another with --tokenizer")));
}

TEST(DualEncoderFolder, RefusesWhatIsIncompleteOrNotOne) {
  const auto tokenizer = weft::test::shared_file("data/tokenizers/minilm/tokenizer.json");
  WEFT_SKIP_WITHOUT(tokenizer);
  const weft::test::TempFolder folder;
  auto made = make(tokenizer);
  made.tokenizer = nullptr;
  EXPECT_THAT([&] { save_dual_encoder(made, folder / "a"); },
              ThrowsMessage<weft::Error>(HasSubstr("saved with its tokenizer, which is missing")));
  made = make(tokenizer);
  made.image = make_encoder("vit_tiny", weft::checkpoint::Role::image);
  EXPECT_THAT([&] { save_dual_encoder(made, folder / "a"); },
              ThrowsMessage<weft::Error>(HasSubstr("not those of the model")));
  EXPECT_FALSE(std::filesystem::exists(folder / "a"));
  save_encoder(made.image, folder / "b");
  EXPECT_THAT([&] { load_dual_encoder(folder / "b"); },
              ThrowsMessage<weft::Error>(HasSubstr("unknown model_type of a dual encoder 'vit'")));
}

}  // namespace dual_encoder_folder_test
