#include <torch/torch.h>

#include <weft/eval/answers.hpp>
#include <weft/nn/attention_record.hpp>

#include "support/gmock.hpp"
#include "support/small_vlm.hpp"
#include "support/tensors.hpp"

namespace answers_test {

using namespace weft::test;
using weft::eval::VisualQuestion;

struct Asked {
  weft::models::Vlm vlm = small_vlm();
  weft::data::ConversationEncoder encoder{
      byte_tokenizer(), weft::tokenizers::conversation_template("chatml", "/nowhere"),
      weft::data::ConversationEncoderOptions{.image_token = kPlaceholder}};
  weft::eval::AnswerOptions options{.generate = {.max_new_tokens = 5}};
};

VisualQuestion about(const std::string& text, const std::vector<int64_t>& images) {
  std::string marks;
  for (size_t i = 0; i < images.size(); ++i) marks += weft::data::kImageMark;
  return {.messages = {{.role = "user", .content = marks + text}}, .images = images};
}

// Whatever is asked beside it, and whether the tower ran before.
TEST(Answer, IsThatOfTheQuestionAlone) {
  Asked asked;
  const std::vector<VisualQuestion> questions = {about("What is it?", {1}), about("A dog?", {}),
                                                 about("Which colour, and which word?", {2, 0})};
  for (const int64_t batch : {1, 3}) {
    asked.options.batch_size = batch;
    const auto answers = weft::eval::answer(*asked.vlm, asked.encoder, questions,
                                            SmallTalks::pixels_of, asked.options);
    const auto features =
        weft::eval::VisualFeatures::compute(*asked.vlm, 3, SmallTalks::pixels_of, {});
    const auto kept = weft::eval::answer(*asked.vlm, asked.encoder, questions, features->reader(),
                                         asked.options, &*features);
    ASSERT_EQ(answers.size(), 3u);
    for (size_t i = 0; i < 3; ++i) {
      const auto& images = questions[i].images;
      const auto prompt = asked.encoder.prompt(
          questions[i].messages, images, std::vector<weft::data::VisualTokens>(images.size(), 4));
      weft::LmInput input{.ids = torch::tensor(prompt.ids, torch::kLong).unsqueeze(0)};
      std::vector<torch::Tensor> pixels;
      for (const auto image : images) pixels.push_back(SmallTalks::pixels_of(image).pixels);
      if (!pixels.empty())
        input = asked.vlm->splice(input, asked.vlm->embed_images({.data = torch::cat(pixels)}));
      const auto alone =
          weft::text::generate(*asked.vlm->language, input, asked.options.generate).front();
      EXPECT_EQ(answers[i].ids, alone.ids) << i;
      EXPECT_EQ(kept[i].ids, alone.ids) << i;
      EXPECT_EQ(answers[i].damage, "");
    }
  }
}

TEST(Answer, TellsWhyThereIsNone) {
  Asked asked;
  auto wrong = about("What?", {1});
  wrong.images = {1, 2};
  const auto answers = weft::eval::answer(*asked.vlm, asked.encoder, {wrong, about("It?", {0})},
                                          SmallTalks::pixels_of, asked.options);
  EXPECT_THAT(answers[0].damage, HasSubstr("2 image(s), and 1 mark(s)"));
  EXPECT_EQ(answers[1].damage, "");
  EXPECT_EQ(answers[1].ids.size(), 5u);
}

// The definition: the mean over layers and heads, of the rows that predict the answer.
TEST(AnswerAttention, IsTheMeanOfWhatTheAnswersPositionsPutOnTheImages) {
  Asked asked;
  const auto question = about("What is it?", {1, 0});
  const auto prompt = asked.encoder.prompt(question.messages, question.images, {4, 4});
  const auto visual = asked.vlm->see(
      {.data = torch::cat({SmallTalks::pixels_of(1).pixels, SmallTalks::pixels_of(0).pixels})});
  const std::vector<int64_t> answer = {7, 8, 9};
  const auto found = weft::eval::answer_attention(*asked.vlm, prompt, answer, visual);
  ASSERT_EQ(found.sizes(), (std::vector<int64_t>{3, 8}));

  const torch::NoGradGuard no_grad;
  auto ids = prompt.ids;
  ids.insert(ids.end(), answer.begin(), answer.end());
  weft::nn::AttentionRecord record;
  asked.vlm->language->forward(
      asked.vlm->splice({.ids = torch::tensor(ids, torch::kLong).unsqueeze(0)},
                        asked.vlm->connector->connect({.visual = visual}).tokens));
  ASSERT_EQ(record.weights().size(), 2u);
  int64_t column = 0;
  for (size_t i = 0; i < prompt.ids.size(); ++i) {
    if (prompt.ids[i] != kPlaceholder) continue;
    for (int64_t k = 0; k < 3; ++k) {
      const auto row = static_cast<int64_t>(prompt.ids.size()) - 1 + k;
      double sum = 0;
      for (const auto& layer : record.weights())
        sum += layer[0].select(1, row).select(1, static_cast<int64_t>(i)).mean().item<double>();
      EXPECT_NEAR(found[k][column].item<double>(), sum / 2, 1e-6);
    }
    ++column;
  }
}

}  // namespace answers_test
