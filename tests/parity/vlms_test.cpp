#include <gmock/gmock.h>

#include <ATen/ATen.h>

#include <weft/checkpoint/tiling.hpp>
#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/core/json.hpp>
#include <weft/fusion/anyres.hpp>
#include <weft/text/generation.hpp>
#include <weft/train/vlm.hpp>

#include "parity/references.hpp"
#include "support/python.hpp"
#include "support/temp_folder.hpp"
#include "support/tensors.hpp"

namespace vlms_test {

namespace fs = std::filesystem;
using weft::test::close;

constexpr int kConfigurations = 4;

/// The first `count` images of a case.
weft::EncoderInput images_of(const weft::parity::Case& given, int64_t count) {
  const auto& pixels = given.at("pixels");
  if (given.has("patches"))
    return {.data = pixels.narrow(0, 0, count), .mask = given.at("patches").narrow(0, 0, count)};
  if (!given.has("images")) return {.data = pixels.narrow(0, 0, count)};
  const auto& rows = given.at("images");
  const auto tiles = count == rows.size(0) ? pixels.size(0) : rows[count][0].item<int64_t>();
  return {.data = pixels.narrow(0, 0, tiles), .images = rows.narrow(0, 0, count)};
}

weft::models::VlmInput input_of(const weft::parity::Case& given) {
  weft::models::VlmInput out{.text = {.ids = given.at("ids"), .mask = given.at("mask")},
                             .images = images_of(given, 3)};
  if (given.has("types")) out.text.spans = (given.at("types") == 0).to(at::kLong);
  return out;
}

/// The same as training has it: what token t is to predict is the label of token t + 1.
weft::data::ConversationBatch batch_of(const weft::parity::Case& given) {
  const auto input = input_of(given);
  const auto& labels = given.at("labels");
  weft::data::ConversationBatch out{.text = input.text,
                                    .targets = at::full_like(labels, -100),
                                    .images = input.images,
                                    .numbers = {0, 1, 2}};
  const auto T = labels.size(1);
  out.targets.narrow(1, 0, T - 1).copy_(labels.narrow(1, 1, T - 1));
  return out;
}

TEST(ParityVlms, EveryRegisteredFamilyHasARow) {
  weft::parity::expect_rows("vlms.json", weft::checkpoint::vlm_families().names(), kConfigurations);
}

struct ParityVlm : testing::TestWithParam<std::tuple<std::string, int>> {
  fs::path folder() const {
    const auto& [family, k] = GetParam();
    return weft::parity::references() / family / std::to_string(k);
  }
};

TEST_P(ParityVlm, ForwardLossGradientsAndGreedyIds) {
  WEFT_NEEDS_REFERENCES();
  const auto cases = weft::parity::read_cases(folder());
  ASSERT_EQ(cases.size(), 1u);
  const auto& given = cases.front();
  const auto loaded = weft::checkpoint::load_vlm(folder());
  auto model = loaded.model;
  const auto output = model->forward(input_of(given));
  weft::parity::expect_logits_and_run_backward(output.logits, given);
  const auto expected = weft::checkpoint::load_vlm(folder() / "gradients-0", at::kDouble);
  if (loaded.language.family.starts_with("gemma"))
    weft::parity::take_one_from_norms(*expected.language.model);
  weft::parity::expect_gradients(*model, *expected.model);

  const at::NoGradGuard no_grad;
  EXPECT_NEAR(weft::train::answer_losses(*model, batch_of(given)).item<double>(),
              given.at("loss").item<double>(), 1e-5 * given.at("loss").item<double>());
  const auto& greedy = given.at("greedy");
  const auto length = given.at("mask")[0].sum().item<int64_t>();
  const auto visual = model->embed_images(images_of(given, 2));
  const auto prompt =
      model->splice({.ids = given.at("ids").narrow(0, 0, 1).narrow(1, 0, length)}, visual);
  const auto generated =
      weft::text::generate(*model->language, prompt, {.max_new_tokens = greedy.size(1)});
  EXPECT_TRUE(at::equal(at::tensor(generated.front().ids, at::kLong), greedy[0]));
}

INSTANTIATE_TEST_SUITE_P(
    , ParityVlm,
    testing::Combine(testing::ValuesIn(weft::checkpoint::vlm_families().names()),
                     testing::Range(0, kConfigurations)),
    [](const auto& info) {
      return std::get<0>(info.param) + "_" + std::to_string(std::get<1>(info.param));
    });

TEST(ParityVlms, SavedFoldersReloadInTransformersWithEqualResults) {
  WEFT_NEEDS_REFERENCES();
  const auto& references = weft::parity::references();
  const weft::test::TempFolder saved;
  for (const auto& name : weft::checkpoint::vlm_families().names()) {
    fs::create_directories(saved / name);
    for (int k = 0; k < kConfigurations; ++k) {
      const auto folder = weft::checkpoint::load_vlm(references / name / std::to_string(k));
      weft::checkpoint::save_vlm(folder, saved / name / std::to_string(k), name);
    }
  }
  const auto log = saved / "log.txt";
  const auto status = weft::test::run_python_file(
      WEFT_PARITY_SOURCES "/reload.py", {references.string(), saved.path().string()}, log);
  EXPECT_EQ(status, 0) << weft::io::read_file(log);
}

// PaliGemma's config.json does not say that its models have prefix attention, the others' that
// theirs have none.
TEST(ParityVlms, LayoutsRefuseTheOtherPrefixAttention) {
  WEFT_NEEDS_REFERENCES();
  for (const auto& name : weft::checkpoint::vlm_families().names()) {
    auto folder = weft::checkpoint::load_vlm(weft::parity::references() / name / "0");
    auto& prefix = folder.model->options.prefix_attention;
    prefix = !prefix;
    const weft::test::TempFolder saved;
    EXPECT_THAT([&] { weft::checkpoint::save_vlm(folder, saved / "model", name); },
                testing::ThrowsMessage<weft::Error>(testing::AllOf(
                    testing::HasSubstr(name), testing::HasSubstr("prefix_attention"))));
    EXPECT_FALSE(fs::exists(saved / "model"));
  }
}

// Written anew from the parts, not from the file that was read.
TEST(ParityVlms, ConfigurationsOfTheirOwnMakingAreTheSameModel) {
  WEFT_NEEDS_REFERENCES();
  for (const auto& name : weft::checkpoint::vlm_families().names())
    for (int k = 0; k < kConfigurations; ++k) {
      const auto folder = weft::parity::references() / name / std::to_string(k);
      const auto given = weft::parity::read_cases(folder).front();
      auto loaded = weft::checkpoint::load_vlm(folder);
      const weft::test::TempFolder saved;
      weft::checkpoint::save_vlm(
          {.model = loaded.model,
           .vision = loaded.vision,
           .language = weft::checkpoint::wrap_language_model(loaded.language.model)},
          saved / "model", name);
      auto again = weft::checkpoint::load_vlm(saved / "model");
      const at::NoGradGuard no_grad;
      EXPECT_TRUE(close(again.model->forward(input_of(given)).logits,
                        loaded.model->forward(input_of(given)).logits, 1e-6));
      EXPECT_EQ(again.vision.preprocessor, loaded.vision.preprocessor);
    }
}

// As transformers reads a config.json that ties what the weights do not.
TEST(ParityVlms, HeadsThatDifferFromTheEmbeddingsAreNotTied) {
  WEFT_NEEDS_REFERENCES();
  const weft::test::TempFolder made;
  for (const std::string name : {"idefics3", "internvl", "smolvlm"}) {
    const auto folder = weft::parity::references() / name / "0";
    auto config = weft::Json::read(folder / "config.json");
    ASSERT_FALSE(config.at("tie_word_embeddings").as_bool());
    fs::copy(folder, made / name, fs::copy_options::recursive);
    config.set("tie_word_embeddings", true).write(made / name / "config.json");
    const auto given = weft::parity::read_cases(folder).front();
    const auto loaded = weft::checkpoint::load_vlm(made / name);
    EXPECT_FALSE(loaded.config.at("tie_word_embeddings").as_bool());
    auto model = loaded.model;
    const at::NoGradGuard no_grad;
    EXPECT_TRUE(close(model->forward(input_of(given)).logits * given.at("mask").unsqueeze(2),
                      given.at("logits"), 2e-5));
  }
}

// What a data pipeline needs: placeholders before the encoder has run.
TEST(ParityVlms, TokensOfTilesAreKnownBeforehand) {
  WEFT_NEEDS_REFERENCES();
  for (const std::string name : {"llava_next", "llava_onevision"})
    for (int k = 0; k < kConfigurations; ++k) {
      const auto folder = weft::parity::references() / name / std::to_string(k);
      const auto given = weft::parity::read_cases(folder).front();
      const auto loaded = weft::checkpoint::load_vlm(folder);
      const auto& connector =
          dynamic_cast<const weft::fusion::AnyResImpl&>(*loaded.model->connector);
      const auto info = loaded.model->vision->info();
      const auto side = info.image_size / info.patch_size;
      const auto options = weft::checkpoint::tiling_options(loaded.vision.preprocessor);
      EXPECT_EQ(options.view.size, info.image_size);
      int64_t expected = 0;
      const auto& rows = given.at("images");
      for (const auto& image : weft::vision::tiled_images(rows, given.at("pixels").size(0))) {
        expected += connector.visual_tokens(image, side);
        if (image.rows == 0) continue;
        EXPECT_EQ(connector.visual_tokens(image.size, side), connector.visual_tokens(image, side));
        const auto cut = weft::vision::tiled(image.size, options);
        EXPECT_EQ(std::tie(cut.rows, cut.columns), std::tie(image.rows, image.columns));
      }
      EXPECT_EQ((given.at("ids") == loaded.model->options.image_token).sum().item<int64_t>(),
                expected);
    }
}

}  // namespace vlms_test
