#include <c10/util/Exception.h>

#include <weft/eval/vqa.hpp>

#include "eval/vlm_references.hpp"

namespace vqa_test {

using namespace weft::test;
using weft::Json;
using weft::eval::VqaItem;

TEST(Vqa, ExactFormDropsCaseWhiteSpaceAndTheFullStop) {
  for (const auto* answer : {"Yes", " yes. ", "YES\n", "yes.."})
    EXPECT_EQ(weft::eval::exact_form(answer), "yes");
  EXPECT_EQ(weft::eval::exact_form("3.5"), "3.5");
  EXPECT_EQ(weft::eval::exact_form("\u00c9T\u00c9."), "\u00e9t\u00e9");
  EXPECT_EQ(weft::eval::exact_form(" . "), "");
}

TEST(Vqa, VqaFormFollowsThePublishedRules) {
  for (const auto& [answer, form] :
       std::vector<std::pair<std::string, std::string>>{{"The two dogs.", "2 dogs"},
                                                        {"dont", "don't"},
                                                        {"youd've", "you'd've"},
                                                        {"somebody'd", "somebodyd"},
                                                        {"black/white", "black white"},
                                                        {"black / white", "black white"},
                                                        {"t-shirt", "t shirt"},
                                                        {"t- shirt", "t shirt"},
                                                        {"1,000", "1000"},
                                                        {"10,000-5", "100005"},
                                                        {".5", ".5"},
                                                        {"u.s.", "us"},
                                                        {"None", "0"},
                                                        {"a", ""}})
    EXPECT_EQ(weft::eval::vqa_form(answer), form) << answer;
}

TEST(Vqa, SoftAccuracyOfTenAnswers) {
  std::vector<std::string> answers(10, "no");
  EXPECT_EQ(weft::eval::vqa_accuracy("No", answers), 0);  // all agree: compared as written
  EXPECT_EQ(weft::eval::vqa_accuracy(" no\n", answers), 1);
  answers[0] = answers[1] = "Yes.";
  // Two of ten: either of them leaves one other (1/3), the eight others leave both (2/3).
  EXPECT_NEAR(weft::eval::vqa_accuracy("yes", answers), (2 * 1.0 / 3 + 8 * 2.0 / 3) / 10, 1e-12);
  EXPECT_EQ(weft::eval::vqa_accuracy("no.", answers), 1);
  EXPECT_EQ(weft::eval::vqa_accuracy("no", {}), 0);
}

TEST(Vqa, EqualsTheWrittenOutEvaluation) {
  WEFT_NEEDS_PYTHON();
  const auto given = vlm_reference("vqa");
  ASSERT_TRUE(given.is_object());
  const auto forms = given.at("forms");
  for (size_t i = 0; i < forms.size(); ++i) {
    const auto pair = forms.at(i).as_strings();
    ASSERT_EQ(weft::eval::vqa_form(pair[0]), pair[1]) << '"' << pair[0] << '"';
  }
  std::vector<VqaItem> items;
  std::vector<std::string> predictions;
  double sum = 0;
  const auto rows = given.at("items");
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto row = rows.at(i);
    items.push_back({row.at("question").as_string(), row.at("answers").as_strings()});
    predictions.push_back(row.at("prediction").as_string());
    const auto accuracy = row.at("accuracy").as_double();
    ASSERT_NEAR(weft::eval::vqa_accuracy(predictions.back(), items.back().answers), accuracy, 1e-12)
        << row.dump();
    sum += accuracy;
  }
  const auto result = weft::eval::vqa_soft_accuracy(items, predictions);
  EXPECT_NEAR(result.overall.accuracy, sum / static_cast<double>(items.size()), 1e-12);
  int64_t counted = 0;
  for (const auto& [kind, share] : result.by_kind) counted += share.samples;
  EXPECT_EQ(counted, static_cast<int64_t>(items.size()));

  std::vector<VqaItem> asked;
  for (const auto& question : given.at("questions").as_strings()) asked.push_back({question, {}});
  const weft::eval::AnswerPriors priors({items.begin() + 50, items.end()});
  EXPECT_EQ(priors.majority(), given.at("priors").at("majority").as_string());
  EXPECT_EQ(priors.answers_of(asked), given.at("priors").at("answers").as_strings());
  EXPECT_EQ(priors.majority_of(asked),
            std::vector<std::string>(asked.size(), std::string(priors.majority())));

  const auto pope = given.at("pope");
  std::vector<bool> labels;
  for (size_t i = 0; i < pope.at("labels").size(); ++i)
    labels.push_back(pope.at("labels").at(i).as_bool());
  const auto scores = weft::eval::pope(pope.at("predictions").as_strings(), labels).json();
  EXPECT_EQ(scores.keys(), pope.at("expected").keys());
  for (const auto& key : scores.keys())
    EXPECT_NEAR(scores.at(key).as_double(), pope.at("expected").at(key).as_double(), 1e-12) << key;
}

TEST(Vqa, ScoresOverallAndByKind) {
  const std::vector<VqaItem> items = {{"Is it red?", {"yes"}},
                                      {"Is it blue?", {"No."}},
                                      {"How many?", {"Two"}},
                                      {"How much?", {"-1,000.5"}},
                                      {"What is it?", {"a dog", "dog"}},
                                      {"Where?", {"left"}, "place"}};
  const auto result =
      weft::eval::exact_match(items, {" YES.", "yes", "two", "-1,000.5.", "Dog", "right"});
  EXPECT_EQ(result.json().dump(),
            R"({"accuracy":0.6666666666666666,"samples":6,"by_kind":{)"
            R"("number":{"accuracy":1.0,"samples":2},"other":{"accuracy":1.0,"samples":1},)"
            R"("place":{"accuracy":0.0,"samples":1},"yes/no":{"accuracy":0.5,"samples":2}}})");
  EXPECT_EQ(weft::eval::exact_match({}, {}).overall.samples, 0);
  EXPECT_THAT([&] { weft::eval::exact_match(items, {"a"}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("got 1 for 6")));
}

TEST(Vqa, PopeReadsAnswersAsItsScriptDoes) {
  for (const auto* yes :
       {"Yes", "yes, there is", "NO", "nothing", "", "Yes. There is no dog.", "I can not-see"})
    EXPECT_TRUE(weft::eval::pope_says_yes(yes)) << yes;
  for (const auto* no : {"No", "no.", "No, there is", "There is not", "There is no dog"})
    EXPECT_FALSE(weft::eval::pope_says_yes(no)) << no;
  const auto never = weft::eval::pope({"no", "no"}, {true, false});
  EXPECT_EQ(never.precision, 0);
  EXPECT_EQ(never.f1, 0);
  EXPECT_EQ(never.accuracy, 0.5);
  EXPECT_EQ(never.yes_share, 0);
  EXPECT_THAT([] { weft::eval::pope({"no"}, {}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("got 1 for 0")));
}

TEST(Vqa, PriorsFallBackToTheMajority) {
  const weft::eval::AnswerPriors priors({{"What colour?", {"red", "Blue"}},
                                         {"what colour", {"blue."}},
                                         {"Is it?", {"yes", "yes", "yes"}},
                                         {"Unanswered?", {}}});
  EXPECT_EQ(priors.majority(), "yes");
  EXPECT_EQ(priors.answer("WHAT COLOUR ?"), "blue");
  EXPECT_EQ(priors.answer("Unanswered?"), "yes");
  EXPECT_THAT(
      [] {
        weft::eval::AnswerPriors(std::vector<VqaItem>{{"What?", {}}});
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("none in 1 items")));
}

}  // namespace vqa_test
