#include <cmath>

#include <torch/torch.h>

#include <weft/checkpoint/connectors.hpp>
#include <weft/data/vlm_inputs.hpp>
#include <weft/fusion/anyres.hpp>
#include <weft/tokenizers/added_tokens.hpp>

#include "support/gmock.hpp"
#include "support/small_vlm.hpp"

namespace vlm_inputs_test {

using namespace weft::test;

weft::checkpoint::VlmFolder folder_of(weft::vision::Tiling tiling) {
  weft::checkpoint::VlmFolder out{.model = small_vlm()};
  out.tiling = {.view = {.size = 8, .resize_mode = weft::vision::ResizeMode::squash},
                .tiling = tiling,
                .grid_pinpoints = {{8, 16}, {16, 8}, {16, 16}},
                .longest_edge = 16,
                .max_tiles = 4};
  if (tiling == weft::vision::Tiling::anyres)
    out.model =
        weft::models::Vlm(out.model->vision,
                          std::make_shared<weft::fusion::AnyResImpl>(
                              out.model->connector,
                              weft::fusion::AnyResOptions{
                                  .tile_size = 8, .grid_pinpoints = out.tiling.grid_pinpoints}),
                          out.model->language, out.model->options);
  return out;
}

weft::io::Image picture(int64_t width, int64_t height) {
  weft::io::Image out{width, height, std::vector<uint8_t>(3 * width * height)};
  for (size_t i = 0; i < out.rgb.size(); ++i) out.rgb[i] = static_cast<uint8_t>(i * 7);
  return out;
}

// The number of tokens is told before the encoder has run.
TEST(VisualTransform, TellsHowManyTokensAnImageBecomes) {
  using weft::vision::Tiling;
  for (const auto tiling :
       {Tiling::none, Tiling::pad, Tiling::anyres, Tiling::split, Tiling::crop}) {
    auto folder = folder_of(tiling);
    const auto transform = weft::data::visual_transform(folder);
    EXPECT_EQ(weft::data::visual_tokens(folder), tiling == Tiling::none || tiling == Tiling::pad
                                                     ? std::optional<int64_t>(4)
                                                     : std::nullopt);
    for (const auto& [width, height] : {std::pair<int64_t, int64_t>{8, 8}, {20, 9}, {9, 31}}) {
      const auto seen = transform(picture(width, height), false);
      EXPECT_EQ(seen.row.defined(), tiling == Tiling::anyres);
      weft::EncoderInput images{.data = seen.pixels};
      if (seen.row.defined()) images.images = seen.row.unsqueeze(0);
      const auto tokens = folder.model->embed_images(images);
      EXPECT_EQ(tokens.size(0) * tokens.size(1), seen.tokens) << width << " x " << height;
    }
  }
}

// LLaVA-OneVision has no tiles of several images, LLaVA-NeXT has them of each.
TEST(VisualTransform, OneOfSeveralImagesIsPaddedWhereTheModelHasItSo) {
  using weft::vision::Tiling;
  for (const bool pad : {false, true}) {
    auto folder = folder_of(Tiling::anyres);
    folder.tiling.pad_several = pad;
    const auto transform = weft::data::visual_transform(folder);
    const auto image = picture(20, 9);
    const auto alone = transform(image, false), several = transform(image, true);
    EXPECT_GT(alone.pixels.size(0), 1);
    auto padded = folder.tiling;
    padded.tiling = pad ? Tiling::pad : Tiling::anyres;
    const auto expected = weft::vision::to_tiles({image}, padded);
    EXPECT_TRUE(at::equal(several.pixels, expected.pixels));
    EXPECT_TRUE(at::equal(several.row, expected.images[0]));
    EXPECT_EQ(several.tokens, pad ? 4 + 1 : alone.tokens);  // a newline behind them
    EXPECT_EQ(
        folder.model->embed_images({.data = several.pixels, .images = several.row.unsqueeze(0)})
            .size(1),
        several.tokens);
  }
}

// A picture whose pixels tell where they are, so that the view's pixels tell where they come from.
TEST(ViewPlacement, BringsTheViewsCornersIntoThePicture) {
  using weft::data::Box;
  using weft::vision::Tiling;
  const auto part = [](const weft::vision::ImageTransformOptions& view, Tiling tiling,
                       int64_t width, int64_t height) {
    const auto S = static_cast<double>(view.size);
    return weft::data::view_placement({height, width}, {.view = view, .tiling = tiling})
        .back(Box{.x2 = S, .y2 = S});
  };
  const auto near = [](const Box& a, const Box& b) {
    return std::abs(a.x1 - b.x1) + std::abs(a.y1 - b.y1) + std::abs(a.x2 - b.x2) +
               std::abs(a.y2 - b.y2) <
           1e-9;
  };
  const auto squash = weft::vision::ResizeMode::squash;
  EXPECT_TRUE(near(part({.size = 8}, Tiling::none, 40, 20), {10, 0, 30, 20}));
  EXPECT_TRUE(near(part({.size = 8, .resize = 10}, Tiling::none, 20, 40), {2, 12, 18, 28}));
  EXPECT_TRUE(near(part({.size = 8, .resize_mode = squash}, Tiling::none, 40, 20), {0, 0, 40, 20}));
  EXPECT_TRUE(
      near(part({.size = 8, .resize_mode = squash}, Tiling::anyres, 40, 20), {0, 0, 40, 20}));
  EXPECT_TRUE(
      near(part({.size = 8, .resize_mode = squash}, Tiling::pad, 40, 20), {0, -10, 40, 30}));

  weft::io::Image ramp{40, 20, {}};
  for (int64_t i = 0; i < 40 * 20; ++i) {
    ramp.rgb.push_back(static_cast<uint8_t>(6 * (i % 40)));
    ramp.rgb.insert(ramp.rgb.end(), {0, 0});
  }
  const auto seen = weft::vision::to_tiles({ramp}, {.view = {.size = 8}, .tiling = Tiling::none});
  const auto row = seen.pixels[0][0][3].to(torch::kDouble);
  // The middle of view pixel x is picture column 10 + 2.5 (x + 1/2) - 1/2.
  EXPECT_NEAR(row[2].item<double>(), 6 * (10 + 2.5 * 2.5 - 0.5), 2);
  EXPECT_NEAR(row[5].item<double>(), 6 * (10 + 2.5 * 5.5 - 0.5), 2);
}

// What Idefics3's and InternVL's processors write; parity/vlm_processors_test.cpp holds the ids to
// theirs.
TEST(VisualTransform, WritesWhatStandsAroundTheTiles) {
  using weft::vision::Tiling;
  const auto text = [](Tiling tiling, int64_t width, int64_t height) {
    auto folder = folder_of(tiling);
    folder.tokenizer = byte_tokenizer();
    const auto seen = weft::data::visual_transform(folder)(picture(width, height), false);
    EXPECT_EQ(std::ranges::count(seen.ids, kPlaceholder), seen.ids.empty() ? 0 : seen.tokens);
    std::string out;
    std::vector<int64_t> words;
    for (const auto id : seen.ids) {
      if (id != kPlaceholder) words.push_back(id);
      if (id != kPlaceholder || words.empty()) continue;
      out += byte_tokenizer()->decode(words, false) + "*";
      words.clear();
    }
    return out + byte_tokenizer()->decode(words, false);
  };
  EXPECT_EQ(text(Tiling::none, 20, 9), "");
  EXPECT_EQ(text(Tiling::pad, 20, 9), "");
  EXPECT_EQ(text(Tiling::crop, 8, 8), "<img>*</img>");
  EXPECT_EQ(text(Tiling::crop, 20, 9), "<img>*</img>");
  const std::string fake = "<fake_token_around_image>";
  EXPECT_EQ(text(Tiling::split, 16, 16), fake + "<row_1_col_1>*" + fake + "<row_1_col_2>*\n" +
                                             fake + "<row_2_col_1>*" + fake + "<row_2_col_2>*\n\n" +
                                             fake + "<global-img>*" + fake);
  auto folder = folder_of(Tiling::split);
  folder.tiling.do_image_splitting = false;
  folder.tokenizer = byte_tokenizer();
  const auto whole = weft::data::visual_transform(folder)(picture(16, 16), false);
  EXPECT_EQ(whole.tokens, 4);
  std::vector<int64_t> words;
  for (const auto id : whole.ids)
    if (id != kPlaceholder) words.push_back(id);
  EXPECT_EQ(byte_tokenizer()->decode(words, false), fake + "<global-img>" + fake);
}

TEST(ConversationEncoderOf, NamesTheFolderWithoutATokenizer) {
  auto folder = folder_of(weft::vision::Tiling::none);
  folder.path = "models/mute";
  EXPECT_THAT([&] { weft::data::conversation_encoder(folder, "chatml", 64); },
              ThrowsMessage<weft::Error>(HasSubstr("models/mute: holds no tokenizer")));
  folder.tokenizer = byte_tokenizer();
  const auto encoder =
      weft::data::conversation_encoder(folder, "v1", 64, weft::data::Turns::shared);
  EXPECT_EQ(encoder.options().max_length, 64);
  EXPECT_EQ(encoder.options().image_token, kPlaceholder);
  EXPECT_EQ(encoder.options().turns, weft::data::Turns::shared);
  EXPECT_THAT(encoder.chat().source(), HasSubstr("ASSISTANT:"));
}

// A sample that is longer than the model's positions would end the run.
TEST(ConversationEncoderOf, TakesNoMoreTokensThanThereArePositions) {
  auto folder = folder_of(weft::vision::Tiling::none);
  folder.tokenizer = byte_tokenizer();
  folder.model =
      weft::models::Vlm(folder.model->vision, folder.model->connector,
                        std::make_shared<weft::text::DecoderLmImpl>(weft::text::DecoderLmOptions{
                            .vocab_size = byte_tokenizer()->vocab_size(),
                            .num_layers = 1,
                            .block = {.attention = {.hidden_size = 12, .num_heads = 2},
                                      .mlp = {.hidden_size = 12, .intermediate_size = 16}},
                            .max_tokens = 48,
                            .learned_positions = true}),
                        folder.model->options);
  EXPECT_EQ(weft::data::conversation_encoder(folder, "v1", 64).options().max_length, 48);
  EXPECT_EQ(weft::data::conversation_encoder(folder, "v1", 32).options().max_length, 32);
}

TEST(GroundingFormatOf, FollowsTheVocabulary) {
  using weft::data::GroundingFormat;
  auto folder = folder_of(weft::vision::Tiling::none);
  EXPECT_EQ(weft::data::grounding_format(folder), GroundingFormat::plain);
  folder.tokenizer = byte_tokenizer();
  EXPECT_EQ(weft::data::grounding_format(folder), GroundingFormat::plain);
  folder.tokenizer =
      weft::tokenizers::with_added_tokens(*folder.tokenizer, weft::data::location_tokens());
  EXPECT_EQ(weft::data::grounding_format(folder), GroundingFormat::paligemma);
}

}  // namespace vlm_inputs_test
