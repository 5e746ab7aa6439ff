#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/eval/answer_report.hpp>
#include <weft/io/file.hpp>
#include <weft/report/attention.hpp>

#include "support/gmock.hpp"
#include "support/small_vlm.hpp"

namespace answer_report_test {

using namespace weft::test;
using weft::eval::AskedQuestion;
using weft::eval::VisualAnswer;

weft::io::Image picture(int64_t width, int64_t height, int64_t seed) {
  weft::io::Image out{width, height, std::vector<uint8_t>(3 * width * height)};
  for (size_t i = 0; i < out.rgb.size(); ++i) out.rgb[i] = static_cast<uint8_t>(i * (7 + seed));
  return out;
}

/// The small model, pictures 0.png to 2.png of 24 x 12 pixels, and a question about each in turn.
struct Pictures {
  Pictures() {
    auto list = weft::Json::array();
    for (int64_t i = 0; i < 3; ++i) {
      const auto name = std::to_string(i) + ".png";
      weft::io::write_file(data / name, weft::io::encode_png(picture(24, 12, i)));
      list.push_back(weft::Json::object(
          {{"image", name},
           {"conversations",
            std::vector<weft::Json>{weft::Json::object({{"from", "human"}, {"value", "<image>Q"}}),
                                    weft::Json::object({{"from", "gpt"}, {"value", "A"}})}}}));
    }
    list.write(data / "a.json");
    source = std::make_unique<weft::data::ConversationSource>(
        weft::data::ConversationSourceOptions{.data = data / "a.json", .images = data.path()});
    folder.model = small_vlm();
    folder.tiling = {.view = {.size = 8}, .tiling = weft::vision::Tiling::none};
  }

  void ask(const std::string& text, const std::string& said, const std::string& expected,
           const std::vector<int64_t>& images) {
    std::string marks;
    for (size_t i = 0; i < images.size(); ++i) marks += weft::data::kImageMark;
    asked.push_back(
        {.text = text,
         .question = {.messages = {{.role = "user", .content = marks + text}}, .images = images},
         .answers = {expected}});
    answers.push_back({.text = said, .ids = {70, 71, 72}});
  }

  std::string report(const weft::eval::AnswerReportOptions& options = {}) const {
    weft::report::HtmlReport page("answers");
    const weft::data::ReadVisual read = SmallTalks::pixels_of;
    weft::eval::add_answers(page, {folder, encoder, *source, read}, asked, answers, options);
    page.write(data / "report.html");
    return weft::io::read_file(data / "report.html");
  }

  TempFolder data;
  std::unique_ptr<weft::data::ConversationSource> source;
  weft::checkpoint::VlmFolder folder;
  weft::data::ConversationEncoder encoder{
      byte_tokenizer(), weft::tokenizers::conversation_template("chatml", "/nowhere"),
      weft::data::ConversationEncoderOptions{.image_token = kPlaceholder}};
  std::vector<AskedQuestion> asked;
  std::vector<VisualAnswer> answers;
};

int64_t count(const std::string& text, const std::string& part) {
  int64_t out = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++out;
  return out;
}

TEST(AnswerReport, ShowsRightAndWrongAnswersWithWhatTheyRestOn) {
  Pictures pictures;
  for (int64_t i = 0; i < 20; ++i)
    pictures.ask(std::string("Question ") + std::to_string(i) + "?", i % 4 == 0 ? "Yes." : "no",
                 "yes", {i % 3});
  const auto page = pictures.report({.pictures = 6});
  EXPECT_EQ(count(page, "(right)"), 3 * 2);  // as alternative text and as caption
  EXPECT_EQ(count(page, "(expected: yes)"), 3 * 2);
  EXPECT_EQ(count(page, "<details>"), 6);
  EXPECT_EQ(count(page, "<img"), 6 * (2 + 3));
  EXPECT_EQ(count(page, "width=\"112\""), 6 * 3);
  EXPECT_THAT(page,
              HasSubstr(std::string("<figcaption>") + byte_tokenizer()->decode({70}, false) + "<"));
  // The overlay of the whole answer is that of the maps' mean.
  auto vlm = pictures.folder.model;
  const auto maps = weft::eval::answer_maps(*vlm, pictures.encoder, pictures.asked[0].question,
                                            {70, 71, 72}, SmallTalks::pixels_of);
  const auto overlay =
      weft::eval::map_overlay(picture(24, 12, 0), maps.mean(0), pictures.folder.tiling);
  EXPECT_THAT(page,
              HasSubstr(weft::report::data_uri("image/jpeg", weft::io::encode_jpeg(overlay))));
  // Where all are wrong, all that are shown are.
  for (auto& one : pictures.asked) one.answers = {"blue"};
  EXPECT_EQ(count(pictures.report({.pictures = 6}), "(expected: blue)"), 6 * 2);
}

// A verdict is that of the score beside it.
TEST(AnswerReport, ReadsYesAndNoAsPopeDoes) {
  Pictures pictures;
  pictures.ask("Is there a dog?", "Yes, there is one.", "yes", {0});
  pictures.ask("Is there a cat?", "There is no cat.", "No", {1});
  pictures.ask("Is there a cow?", "Yes, there is one.", "no", {2});
  pictures.ask("Which colour?", "Red", "red", {2});
  EXPECT_EQ(count(pictures.report(), "(right)"), 2);
  EXPECT_EQ(count(pictures.report({.yes_no = true}), "(right)"), 3 * 2);
}

TEST(AnswerReport, GoesWithoutMapsAndWithoutPictures) {
  Pictures pictures;
  pictures.ask("What?", "yes", "yes", {});
  EXPECT_THAT(pictures.report(), HasSubstr("No question has a picture."));
  pictures.ask("Where?", "[0.00, 0.00, 0.50, 1.00]", "[0.00, 0.00, 0.60, 1.00]", {1});
  auto small = pictures.folder.model;
  pictures.folder.model =
      weft::models::Vlm(small->vision, weft::checkpoint::make_connector("resampler", 8, 12),
                        small->language, small->options);
  const auto page = pictures.report({.boxes = weft::eval::GroundingFormats{}});
  EXPECT_EQ(count(page, "<details>"), 0);
  EXPECT_EQ(count(page, "<img"), 1);
  EXPECT_EQ(count(page, "(right)"), 2);  // an IoU of 5/6
}

// The middle of a wide picture is all that a crop sees; a padded square sees more than there is.
TEST(MapOverlay, LiesWhereTheModelLooks) {
  const auto wide = picture(24, 12, 1);
  const auto map = at::ones({2, 2});
  const auto changed = [&](const weft::vision::TilingOptions& tiling) {
    const auto over = weft::eval::map_overlay(wide, map, tiling);
    std::vector<bool> out;
    for (int64_t x = 0; x < 24; ++x) {
      bool other = false;
      for (int64_t y = 0; y < 12; ++y)
        for (int64_t c = 0; c < 3; ++c)
          other |= over.rgb[3 * (y * 24 + x) + c] != wide.rgb[3 * (y * 24 + x) + c];
      out.push_back(other);
    }
    return out;
  };
  std::vector<bool> middle(24, false);
  std::fill(middle.begin() + 6, middle.begin() + 18, true);
  EXPECT_EQ(changed({.view = {.size = 8}, .tiling = weft::vision::Tiling::none}), middle);
  EXPECT_EQ(changed({.view = {.size = 8}, .tiling = weft::vision::Tiling::pad}),
            std::vector<bool>(24, true));
  // Padded above and below, the picture has the map's middle rows.
  const auto rows =
      weft::eval::map_overlay(wide, at::arange(4.0).view({4, 1}),
                              {.view = {.size = 8}, .tiling = weft::vision::Tiling::pad});
  const auto expected = weft::report::attention_overlay(wide, at::arange(4.0).view({4, 1}), 0.5,
                                                        {.top = -6, .width = 24, .height = 24});
  EXPECT_EQ(rows, expected);
}

}  // namespace answer_report_test
