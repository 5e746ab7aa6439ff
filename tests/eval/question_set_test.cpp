#include <algorithm>
#include <fstream>

#include <weft/data/sample.hpp>
#include <weft/eval/answer_scores.hpp>
#include <weft/eval/question_set.hpp>
#include <weft/io/file.hpp>

#include "data/test_shards.hpp"
#include "support/gmock.hpp"

namespace question_set_test {

using namespace weft::test;
using weft::eval::AskedQuestion;

/// Two pictures of 20 x 10 pixels; two questions about the first, one with references about the
/// second.
struct Talks {
  Talks() {
    std::ofstream(folder / "a.json") << R"([
      {"id": "a", "image": "0.png", "conversations": [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "<image>\nIs it red?"}, {"from": "gpt", "value": "Yes."},
        {"from": "human", "value": "Where is it?"}, {"from": "gpt", "value": "[0.00, 0.00, 0.50, 1.00]"}]},
      {"id": "b", "image": "1.png", "references": ["no", "blue"], "conversations": [
        {"from": "human", "value": "<image>\nIs it green?"}, {"from": "gpt", "value": "no"}]}])";
    for (const auto* name : {"0.png", "1.png"})
      weft::io::write_file(folder / name,
                           weft::io::encode_png({20, 10, std::vector<uint8_t>(3 * 20 * 10, 90)}));
    source = std::make_unique<weft::data::ConversationSource>(
        weft::data::ConversationSourceOptions{.data = folder / "a.json", .images = folder.path()});
  }

  TempFolder folder;
  std::unique_ptr<weft::data::ConversationSource> source;
};

TEST(QuestionsOf, StandBehindTheTurnsBeforeThem) {
  const Talks talks;
  const auto asked = weft::eval::questions_of(*talks.source);
  ASSERT_EQ(asked.size(), 3u);
  EXPECT_EQ(asked[0].text, "Is it red?");
  EXPECT_EQ(asked[0].question.messages.size(), 2u);  // the system's and the question
  EXPECT_EQ(asked[0].question.messages[1].content, "<image>\nIs it red?");
  EXPECT_EQ(asked[1].id, "a");
  ASSERT_EQ(asked[1].question.messages.size(), 4u);
  EXPECT_EQ(asked[1].question.messages[2].content, "Yes.");
  EXPECT_EQ(asked[1].question.messages[3].content, "Where is it?");
  EXPECT_THAT(asked[1].question.images, ElementsAre(0));
  EXPECT_THAT(asked[1].answers, ElementsAre("[0.00, 0.00, 0.50, 1.00]"));
  EXPECT_THAT(asked[2].answers, ElementsAre("no", "blue"));
  EXPECT_THAT(asked[2].images, ElementsAre(1));
}

// An image of a later turn has not been shown, and one damaged sample of many is counted.
TEST(QuestionsOf, AreAboutTheImagesSoFar) {
  const TempFolder folder;
  std::ofstream(folder / "a.json") << R"([
    {"id": "a", "image": ["0.png", "1.png"], "conversations": [
      {"from": "human", "value": "<image>\nIs it red?"}, {"from": "gpt", "value": "Yes."},
      {"from": "human", "value": "And <image>?"}, {"from": "gpt", "value": "No."}]},
    {"id": "b", "image": ["0.png", "1.png"], "conversations": [
      {"from": "human", "value": "<image>\nIs it red?"}, {"from": "gpt", "value": "Yes."}]}])";
  const auto asked = weft::eval::questions_of(
      weft::data::ConversationSource({.data = folder / "a.json", .images = folder.path()}));
  ASSERT_EQ(asked.size(), 3u);
  EXPECT_THAT(asked[0].question.images, ElementsAre(0));
  EXPECT_THAT(asked[0].images, ElementsAre(0, 1));
  EXPECT_THAT(asked[1].question.images, ElementsAre(0, 1));
  EXPECT_THAT(asked[2].question.images, ElementsAre(0, 1));  // a mark is missing: answer() says so

  auto damaged = sample_of(1);
  damaged.fields.erase("txt");
  damaged.fields["json"] = "{";
  write_shard(folder / "s.tar", {sample_of(0), damaged});
  const weft::data::ConversationSource shards({.data = folder / "s.tar"});
  weft::data::BadData bad;
  EXPECT_EQ(weft::eval::questions_of(shards, {.bad = &bad}).size(), 1u);
  EXPECT_EQ(bad.total(), 1);
  EXPECT_THROW(weft::eval::questions_of(shards), weft::data::BadSample);
}

TEST(QuestionsOf, MayBeFewerAndWithoutTheirImages) {
  const Talks talks;
  EXPECT_EQ(weft::eval::questions_of(*talks.source, {.limit = 2}).size(), 2u);
  const auto first = weft::eval::questions_of(*talks.source, {.first_only = true});
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[1].id, "b");
  auto blind = weft::eval::questions_of(*talks.source, {.blind = true});
  EXPECT_TRUE(blind[1].question.images.empty());
  EXPECT_EQ(blind[1].question.messages[1].content, "Is it red?");
  EXPECT_THAT(blind[1].images, ElementsAre(0));
  auto shuffled = first;
  weft::eval::shuffle_images(shuffled, 2);
  EXPECT_THAT(shuffled[0].question.images, ElementsAre(1));
  EXPECT_THAT(shuffled[1].question.images, ElementsAre(0));
  EXPECT_THAT(shuffled[1].images, ElementsAre(1));
  // One image alone would be its own control.
  EXPECT_THAT([&] { weft::eval::shuffle_images(shuffled, 1); },
              ThrowsMessage<c10::ValueError>(HasSubstr("there must be another image, got 1")));
}

TEST(AnswerScores, AreThoseOfTheQuestionsTheyAreFor) {
  const Talks talks;
  const auto asked = weft::eval::questions_of(*talks.source);
  const std::vector<std::string> said = {"yes", "there", "blue"};
  const auto vqa = weft::eval::score_vqa(asked, said);
  EXPECT_EQ(vqa.at("samples").as_int(), 3);
  EXPECT_NEAR(vqa.at("accuracy").as_double(), 2.0 / 3, 1e-12);
  EXPECT_TRUE(vqa.contains("vqa_accuracy"));
  EXPECT_FALSE(vqa.contains("majority_answer"));
  const std::vector<weft::eval::VqaItem> train = {{.question = "Is it green", .answers = {"no"}}};
  const weft::eval::AnswerPriors priors(train);
  const auto beside = weft::eval::score_vqa(asked, said, &priors);
  EXPECT_NEAR(beside.at("answer_by_question").at("accuracy").as_double(), 1.0 / 3, 1e-12);
  const auto yes_no = weft::eval::score_yes_no(asked, said);  // of the first and the last
  EXPECT_EQ(yes_no.at("samples").as_int(), 2);
  EXPECT_EQ(yes_no.at("accuracy").as_double(), 0.5);
  EXPECT_EQ(weft::eval::score_captions(asked, said).at("samples").as_int(), 3);
  EXPECT_THAT([&] { weft::eval::score_yes_no({asked[1]}, {"yes"}); },
              ThrowsMessage<weft::Error>(HasSubstr("no answer of the data is one of these")));
  EXPECT_THAT([&] { weft::eval::score_yes_no(asked, {"yes"}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("got 1 for 3")));

  weft::eval::write_predictions(asked, said, talks.folder / "said.jsonl");
  const auto lines = weft::io::read_file(talks.folder / "said.jsonl");
  EXPECT_THAT(lines, HasSubstr(R"("question":"Is it green?","answer":"blue")"));
  EXPECT_EQ(std::ranges::count(lines, '\n'), 3);
}

// Boxes in another format than the data's, and of a question that is asked blind.
TEST(AnswerScores, BoxesMayBeWrittenInTwoWays) {
  const Talks talks;
  using weft::data::GroundingFormat;
  const auto asked = weft::eval::questions_of(*talks.source, {.blind = true});
  const std::vector<AskedQuestion> where = {asked[1]};
  const auto score = [&](const std::string& said, GroundingFormat format) {
    return weft::eval::score_grounding(where, {said}, *talks.source,
                                       {format, GroundingFormat::plain})
        .accuracy;
  };
  const std::string left = "<loc0000><loc0000><loc1023><loc0512>";
  EXPECT_EQ(score(left, GroundingFormat::paligemma), 1);
  EXPECT_EQ(score(left, GroundingFormat::plain), 0);
  EXPECT_EQ(score("[0.50, 0.00, 1.00, 1.00]", GroundingFormat::plain), 0);
  auto lost = where;
  lost[0].images = {};
  EXPECT_THAT([&] { weft::eval::score_grounding(lost, {left}, *talks.source, {}); },
              ThrowsMessage<weft::Error>(HasSubstr("question 'a' has no image")));
  EXPECT_THAT(
      [&] {
        weft::eval::score_grounding(where, {left}, *talks.source,
                                    {GroundingFormat::plain, GroundingFormat::molmo});
      },
      ThrowsMessage<weft::Error>(HasSubstr("no right answer holds a box in the format molmo")));
}

}  // namespace question_set_test
