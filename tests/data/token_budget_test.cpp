#include <weft/data/sample.hpp>
#include <weft/data/token_budget.hpp>

#include "support/gmock.hpp"

namespace token_budget_test {

using namespace weft::test;
using weft::Json;
using weft::data::TokenBudget;

TEST(TokenBudget, TellsItsShareOfTheLength) {
  EXPECT_EQ((TokenBudget{"x", 81, 81}.line(2048)),
            "x: 81 visual tokens, 4.0 % of --max-length 2048");
  EXPECT_EQ((TokenBudget{"x", 5, 100}.line(80)),
            "x: 5 to 100 visual tokens, up to 125.0 % of --max-length 80");
  EXPECT_EQ((TokenBudget{"x"}.line(80)), "x: no visual tokens");
  EXPECT_EQ(weft::data::image_budget("cat.jpg", {.width = 640, .height = 480}, 576).line(4096),
            "cat.jpg (640 x 480 pixels): 576 visual tokens, 14.1 % of --max-length 4096");
}

std::vector<std::string> lines(const std::vector<TokenBudget>& budgets) {
  std::vector<std::string> out;
  for (const auto& one : budgets) out.push_back(one.line(1000));
  return out;
}

TEST(SampleBudgets, AreByTheNumberOfImages) {
  const TempFolder folder;
  auto list = Json::array();
  for (int64_t i = 0; i < 60; ++i) {
    std::vector<std::string> images;
    std::string marks;
    for (int64_t k = 0; k < i % 3; ++k) {
      images.push_back(std::to_string(i) + "-" + std::to_string(k) + ".png");
      marks += "<image>";
    }
    list.push_back(
        Json::object({{"image", images},
                      {"conversations",
                       std::vector<Json>{Json::object({{"from", "human"}, {"value", marks + "Q"}}),
                                         Json::object({{"from", "gpt"}, {"value", "A"}})}}}));
  }
  list.write(folder / "a.json");
  const weft::data::ConversationSource source({.data = folder / "a.json"});
  EXPECT_EQ(source.image_name(1), "2-0.png");
  // Images 0, 1 and 2 are of samples 1, 2 and 2; a larger number is a larger image here.
  const auto tokens = [](int64_t image) -> int64_t { return 10 + image; };
  EXPECT_THAT(
      lines(weft::data::sample_budgets(source, tokens)),
      ElementsAre("samples without images (20 of 60): no visual tokens",
                  "samples with 1 image (20 of 60): 10 to 67 visual tokens, up to 6.7 % of "
                  "--max-length 1000",
                  "samples with 2 images (20 of 60): 23 to 137 visual tokens, up to 13.7 % of "
                  "--max-length 1000"));
  // Every tenth sample: none is read in between.
  EXPECT_THAT(lines(weft::data::sample_budgets(
                  source, [](int64_t) { return int64_t{7}; }, 6)),
              ElementsAre("samples without images (2 of 6): no visual tokens",
                          "samples with 1 image (2 of 6): 7 visual tokens, 0.7 % of --max-length "
                          "1000",
                          "samples with 2 images (2 of 6): 14 visual tokens, 1.4 % of --max-length "
                          "1000"));
  const auto damaged = [](int64_t image) -> int64_t {
    if (image == 0)
      throw weft::data::BadSample(weft::data::BadCause::decode_error, "image 0 is damaged");
    return 7;
  };
  EXPECT_THAT(lines(weft::data::sample_budgets(source, damaged))[1],
              HasSubstr("with 1 image (19 of 59): 7 visual tokens"));
}

}  // namespace token_budget_test
