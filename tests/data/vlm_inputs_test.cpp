#include <cmath>

#include <torch/torch.h>

#include <weft/checkpoint/connectors.hpp>
#include <weft/data/vlm_inputs.hpp>
#include <weft/fusion/anyres.hpp>

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
    for (const auto& [width, height] : {std::pair<int64_t, int64_t>{8, 8}, {20, 9}, {9, 31}}) {
      const auto seen = transform(picture(width, height));
      EXPECT_EQ(seen.row.defined(), tiling == Tiling::anyres);
      weft::EncoderInput images{.data = seen.pixels};
      if (seen.row.defined()) images.images = seen.row.unsqueeze(0);
      const auto tokens = folder.model->embed_images(images);
      EXPECT_EQ(tokens.size(0) * tokens.size(1), seen.tokens) << width << " x " << height;
    }
  }
}

// What Idefics3's and InternVL's processors write; parity/vlm_processors_test.cpp holds the ids to
// theirs.
TEST(VisualTransform, WritesWhatStandsAroundTheTiles) {
  using weft::vision::Tiling;
  const auto text = [](Tiling tiling, int64_t width, int64_t height) {
    auto folder = folder_of(tiling);
    folder.tokenizer = byte_tokenizer();
    const auto seen = weft::data::visual_transform(folder)(picture(width, height));
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
  const auto whole = weft::data::visual_transform(folder)(picture(16, 16));
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

}  // namespace vlm_inputs_test
