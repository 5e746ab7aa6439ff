#include <fstream>

#include <gmock/gmock.h>

#include <ATen/ATen.h>

#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/checkpoint/families.hpp>
#include <weft/checkpoint/lm_folder.hpp>
#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/core/error.hpp>
#include <weft/text/decoder_lm.hpp>
#include <weft/text/lm_encoder.hpp>
#include <weft/tokenizers/bpe_trainer.hpp>
#include <weft/vision/vision_transformer.hpp>

#include "support/temp_folder.hpp"

namespace encoder_folder_test {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::Error;
using weft::Json;
using weft::checkpoint::load_encoder;
using weft::checkpoint::make_encoder;
using weft::checkpoint::save_encoder;

const auto kSmall = Json::object({{"hidden_size", 12}, {"num_layers", 2}, {"num_heads", 2}});

void expect_equal(const weft::Encoder& a, const weft::Encoder& b) {
  const auto left = a.named_parameters(), right = b.named_parameters();
  ASSERT_EQ(left.size(), right.size());
  for (const auto& item : left)
    EXPECT_TRUE(at::equal(item.value(), right[item.key()])) << item.key();
}

TEST(EncoderFolder, PresetsComeBackWithTheirWeightsAndOptions) {
  for (const auto* name : {"vit_tiny", "dinov2_small", "text_tiny", "text_base"}) {
    SCOPED_TRACE(name);
    const weft::test::TempFolder folder;
    const bool text = std::string_view(name).starts_with("text");
    const auto made = make_encoder(
        name, text ? weft::checkpoint::Role::text : weft::checkpoint::Role::image, kSmall);
    save_encoder(made, folder / "encoder");
    const auto loaded = load_encoder(folder / "encoder");
    EXPECT_EQ(loaded.family, made.family);
    expect_equal(*made.encoder, *loaded.encoder);
    EXPECT_FALSE(loaded.encoder->is_training());
  }
}

// timm cuts width * mlp_ratio to an integer: the ratio that is written must survive that.
TEST(EncoderFolder, TimmsRatioGivesTheWidthBack) {
  const weft::test::TempFolder folder;
  for (const int64_t inner : {488, 487, 113, 57, 3}) {
    const auto made = make_encoder(
        "timm_vit", weft::checkpoint::Role::image,
        Json::object({{"architecture", "vit_small_patch16_224"},
                      {"model_args",
                       Json::object({{"embed_dim", 56},
                                     {"depth", 1},
                                     {"num_heads", 2},
                                     {"img_size", 16},
                                     {"mlp_ratio", (static_cast<double>(inner) + 0.5) / 56}})}}));
    save_encoder(weft::checkpoint::wrap_encoder(made.encoder), folder / "encoder");
    expect_equal(*made.encoder, *load_encoder(folder / "encoder").encoder);
  }
}

// timm reads both forms; older files have what pretrained_cfg holds beside the architecture.
TEST(EncoderFolder, TimmsFlatConfigHoldsItsStatistics) {
  const auto statistics = Json::object({{"mean", std::vector{0.5, 0.25, 0.125}},
                                        {"std", std::vector{0.5, 0.5, 0.25}},
                                        {"crop_pct", 0.9},
                                        {"interpolation", "bilinear"}});
  auto flat = statistics;
  const auto nested =
      Json::object({{"architecture", "vit_tiny_patch16_224"}, {"pretrained_cfg", statistics}});
  const auto read = [](const Json& config) {
    return weft::checkpoint::families().at("timm_vit").preprocessor(config);
  };
  const auto made = read(flat.set("architecture", "vit_tiny_patch16_224"));
  EXPECT_EQ(made, read(nested));
  EXPECT_EQ(made.at("image_mean").as_doubles(), (std::vector{0.5, 0.25, 0.125}));
  EXPECT_EQ(made.at("size").at("shortest_edge").as_int(), 248);
}

TEST(EncoderFolder, FamiliesComeFromTheirConfig) {
  const auto made = make_encoder("dinov2_with_registers", weft::checkpoint::Role::image,
                                 Json::object({{"hidden_size", 12},
                                               {"num_attention_heads", 3},
                                               {"num_hidden_layers", 1},
                                               {"use_swiglu_ffn", true},
                                               {"image_size", 32}}));
  EXPECT_EQ(made.encoder->info().prefix, 5);
  const weft::test::TempFolder folder;
  save_encoder(made, folder / "a");
  expect_equal(*made.encoder, *load_encoder(folder / "a").encoder);
}

TEST(EncoderFolder, UnknownFieldsOtherFilesAndPixelStatisticsStay) {
  const weft::test::TempFolder folder;
  const auto path = folder / "encoder";
  auto made = make_encoder("vit_tiny", weft::checkpoint::Role::image,
                           Json(kSmall).set("pixel_mean", std::vector<double>{.1, .2, .3}));
  made.config.set("my_field", Json::object({{"a", 1}}));
  save_encoder(made, path);
  std::ofstream(path / "notes.txt") << "kept";
  std::ofstream(path / "model-00001-of-00002.safetensors") << "stale";
  auto loaded = load_encoder(path);
  EXPECT_EQ(loaded.config.at("my_field").dump(), R"({"a":1})");
  const auto& options = dynamic_cast<weft::vision::VisionTransformerImpl&>(*loaded.encoder).options;
  EXPECT_EQ(options.pixel_mean, (std::vector<double>{.1, .2, .3}));
  save_encoder(loaded, path);
  EXPECT_TRUE(std::filesystem::exists(path / "notes.txt"));
  EXPECT_FALSE(std::filesystem::exists(path / "model-00001-of-00002.safetensors"));
  EXPECT_TRUE(load_encoder(path).config.contains("my_field"));
}

TEST(EncoderFolder, TypesAreKeptOnSaving) {
  const weft::test::TempFolder folder;
  auto made = make_encoder("vit_tiny", weft::checkpoint::Role::image, kSmall);
  made.encoder->to(at::kBFloat16);
  save_encoder(made, folder / "a");
  EXPECT_EQ(Json::read(folder / "a" / "config.json").at("dtype").as_string(), "bfloat16");
  const auto loaded = load_encoder(folder / "a", at::kBFloat16);
  expect_equal(*made.encoder, *loaded.encoder);
}

TEST(EncoderFolder, ErrorsNameFileFieldAndWeights) {
  const weft::test::TempFolder folder;
  const auto path = folder / "encoder";
  EXPECT_THAT([&] { load_encoder(path); },
              ThrowsMessage<Error>(HasSubstr("expected a model folder")));
  auto made = make_encoder("vit_tiny", weft::checkpoint::Role::image, kSmall);
  save_encoder(made, path);
  const auto config = Json::read(path / "config.json");
  const auto with = [&](const char* key, const Json& value) {
    return [&, key, value] {
      Json(config).set(key, value).write(path / "config.json");
      load_encoder(path);
    };
  };
  EXPECT_THAT(with("model_type", "vitt"),
              ThrowsMessage<Error>(HasSubstr("unknown model_type 'vitt'; nearest: vit")));
  EXPECT_THAT(with("hidden_act", "mish"), ThrowsMessage<Error>(HasSubstr("'mish'")));
  EXPECT_THAT(with("image_size", std::vector<int64_t>{64, 32}),
              ThrowsMessage<Error>(HasSubstr("must be a square, found [64,32]")));
  EXPECT_THAT(with("hidden_size", "wide"),
              ThrowsMessage<Error>(AllOf(HasSubstr("'hidden_size'"), HasSubstr("found string"))));
  EXPECT_THAT(with("qkv_bias", false),
              ThrowsMessage<Error>(
                  AllOf(HasSubstr("unexpected (6)"),
                        HasSubstr("encoder.layer.1.attention.attention.value.bias [12]"))));
  EXPECT_THAT(with("intermediate_size", 50),
              ThrowsMessage<Error>(HasSubstr("expected [50, 12], found [48, 12]")));
}

TEST(EncoderFolder, RefusesWhatTheLayoutCannotExpressByName) {
  const weft::test::TempFolder folder;
  EXPECT_THAT(
      [] {
        make_encoder("text_tiny", weft::checkpoint::Role::text,
                     Json(kSmall).set("post_norm", false));
      },
      ThrowsMessage<Error>(HasSubstr("bert cannot express post_norm = false")));
  EXPECT_THAT(
      [] {
        make_encoder("vit_tiny", weft::checkpoint::Role::image,
                     Json(kSmall).set("layer_scale", 0.1));
      },
      ThrowsMessage<Error>(HasSubstr("vit cannot express layer_scale")));
  EXPECT_THAT([] { make_encoder("vit_tini", weft::checkpoint::Role::image); },
              ThrowsMessage<Error>(HasSubstr("unknown image tower 'vit_tini'; nearest: vit_tiny")));
}

// A decoder is a text encoder of its own folder, which is written as it was read.
TEST(EncoderFolder, LanguageModelsAreTextEncoders) {
  const weft::test::TempFolder folder;
  const auto made = weft::checkpoint::wrap_language_model(
      std::make_shared<weft::text::DecoderLmImpl>(weft::text::DecoderLmOptions{
          .vocab_size = 300,
          .num_layers = 2,
          .block =
              {.attention = {.hidden_size = 12, .num_heads = 2},
               .mlp = {.hidden_size = 12, .intermediate_size = 16, .gated = true, .bias = false},
               .norm = weft::nn::NormKind::rms_norm},
          .rotary = {.dim = 6}}));
  auto whole = made;
  whole.config.set("eos_token_id", std::vector<int64_t>{7, 8}).set("note", "kept");
  weft::checkpoint::save_language_model(whole, folder / "lm");
  const auto bare = weft::tokenizers::train_byte_level_bpe(
      {"a dog"},
      {.vocab_size = 280, .special_tokens = {"<end>"}, .bos_token = "", .eos_token = ""});
  bare->save(folder / "lm/tokenizer.json");

  const auto loaded = load_encoder(folder / "lm");
  EXPECT_EQ(loaded.family, "llama");
  const auto* encoder = dynamic_cast<const weft::text::LmEncoderImpl*>(loaded.encoder.get());
  ASSERT_NE(encoder, nullptr);
  const auto left = made.model->named_parameters(), right = encoder->language->named_parameters();
  ASSERT_EQ(left.size(), right.size());
  for (const auto& item : left) EXPECT_TRUE(at::equal(item.value(), right[item.key()]));
  save_encoder(loaded, folder / "copy");
  EXPECT_EQ(Json::read(folder / "copy/config.json"), Json::read(folder / "lm/config.json"));
  expect_equal(*load_encoder(folder / "copy").encoder, *loaded.encoder);
  EXPECT_NO_THROW(weft::checkpoint::load_language_model(folder / "copy"));
  EXPECT_EQ(weft::checkpoint::wrap_encoder(loaded.encoder).family, "llama");

  EXPECT_TRUE(weft::checkpoint::is_language_model(folder / "lm"));
  EXPECT_FALSE(weft::checkpoint::is_language_model(folder.path()));
  auto ids = bare->encode("a dog").ids;
  ids.push_back(7);
  EXPECT_EQ(weft::checkpoint::load_text_tokenizer(folder / "lm")->encode("a dog").ids, ids);
  EXPECT_THAT(
      [&] { weft::checkpoint::make_vlm(folder / "lm", folder / "lm"); },
      ThrowsMessage<Error>(HasSubstr("expected an image encoder, found the family 'llama'")));
}

}  // namespace encoder_folder_test
