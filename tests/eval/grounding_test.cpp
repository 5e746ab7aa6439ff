#include <c10/util/Exception.h>

#include <weft/eval/grounding.hpp>

#include "eval/vlm_references.hpp"

namespace grounding_scores_test {

using namespace weft::test;
using weft::Json;
using weft::data::Box;
using weft::data::GroundedText;
using weft::eval::grounding;

TEST(GroundingScores, ByHand) {
  const std::vector<std::vector<Box>> truths = {{{0, 0, 10, 10, "a"}, {20, 0, 30, 10, "b"}},
                                                {{0, 0, 4, 4, "c"}}};
  std::vector<GroundedText> answers(2);
  // The second box is nearer to the first truth; the third lies on the second one by half.
  answers[0].boxes = {{0, 0, 10, 8, "a"}, {0, 0, 10, 9, "b"}, {20, 0, 30, 5, "a"}};
  answers[0].points = {{5, 5, "a"}, {6, 6, "a"}};
  answers[1].points = {{3, 3, "x"}};
  answers[1].malformed = 2;
  auto result = grounding(answers, truths);
  EXPECT_THAT(result.iou, ElementsAre(0.9, 0.5, 0));
  EXPECT_NEAR(result.mean_iou, 1.4 / 3, 1e-12);
  EXPECT_EQ(result.json().erase("mean_iou").dump(),
            R"({"accuracy":0.6666666666666666,"precision":0.6666666666666666,)"
            R"("point_accuracy":0.6666666666666666,"truths":3,"boxes":3,"points":3,)"
            R"("malformed":2,"samples":2})");
  EXPECT_NEAR(grounding(answers, truths, {.iou = 0.51}).accuracy, 1.0 / 3, 1e-12);
  result = grounding(answers, truths, {.match_labels = true});
  EXPECT_THAT(result.iou, ElementsAre(0.8, 0, 0));
  EXPECT_NEAR(result.point_accuracy, 1.0 / 3, 1e-12);
}

TEST(GroundingScores, EqualTheWrittenOutMatching) {
  WEFT_NEEDS_PYTHON();
  const auto given = vlm_reference("grounding");
  ASSERT_TRUE(given.is_object());
  const auto box_of = [](const Json& corners) {
    const auto v = corners.as_doubles();
    return Box{v[0], v[1], v[2], v[3]};
  };
  const auto boxes_of = [&](const Json& list) {
    std::vector<Box> out;
    for (size_t i = 0; i < list.size(); ++i) out.push_back(box_of(list.at(i)));
    return out;
  };
  const auto pairs = given.at("pairs");
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto pair = pairs.at(i);
    EXPECT_NEAR(weft::data::iou(box_of(pair.at(size_t{0})), box_of(pair.at(size_t{1}))),
                pair.at(size_t{2}).as_double(), 1e-12);
  }
  std::vector<GroundedText> answers;
  std::vector<std::vector<Box>> truths;
  const auto samples = given.at("samples");
  for (size_t i = 0; i < samples.size(); ++i) {
    answers.emplace_back().boxes = boxes_of(samples.at(i).at("boxes"));
    truths.push_back(boxes_of(samples.at(i).at("truths")));
  }
  const auto result = grounding(answers, truths);
  EXPECT_NEAR(result.accuracy, given.at("accuracy").as_double(), 1e-12);
  EXPECT_NEAR(result.precision, given.at("precision").as_double(), 1e-12);
  EXPECT_NEAR(result.mean_iou, given.at("mean_iou").as_double(), 1e-12);
}

TEST(GroundingScores, NameWhatIsWrong) {
  EXPECT_THAT([] { grounding({}, {{}}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("got 0 for 1")));
  EXPECT_THAT([] { grounding({}, {}, {.iou = 0}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("got 0")));
  EXPECT_EQ(grounding({}, {}).accuracy, 0);
}

}  // namespace grounding_scores_test
