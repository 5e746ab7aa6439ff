#include <cmath>

#include <torch/torch.h>

#include <weft/eval/answers.hpp>
#include <weft/fusion/anyres.hpp>
#include <weft/nn/attention_record.hpp>

#include "support/gmock.hpp"
#include "support/small_vlm.hpp"
#include "support/tensors.hpp"

namespace answers_test {

using namespace weft::test;
using weft::eval::VisualQuestion;

struct Asked {
  explicit Asked(bool prefix_attention = false)
      : vlm(small_vlm(prefix_attention)),
        encoder(byte_tokenizer(), weft::tokenizers::conversation_template("chatml", "/nowhere"),
                {.image_token = kPlaceholder, .prefix_attention = prefix_attention}) {}

  weft::models::Vlm vlm;
  weft::data::ConversationEncoder encoder;
  weft::eval::AnswerOptions options{.generate = {.max_new_tokens = 5}};
};

VisualQuestion about(const std::string& text, const std::vector<int64_t>& images) {
  std::string marks;
  for (size_t i = 0; i < images.size(); ++i) marks += weft::data::kImageMark;
  return {.messages = {{.role = "user", .content = marks + text}}, .images = images};
}

// Whatever is asked beside it, and whether the tower ran before.
TEST(Answer, IsThatOfTheQuestionAlone) {
  const std::vector<VisualQuestion> questions = {about("What is it?", {1}), about("A dog?", {}),
                                                 about("Which colour, and which word?", {2, 0})};
  for (const auto& [prefixes, batch] :
       {std::pair<bool, int64_t>{false, 1}, {false, 3}, {true, 3}}) {
    Asked asked(prefixes);
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
      input = pixels.empty()
                  ? asked.vlm->prompt(input)
                  : asked.vlm->splice(input, asked.vlm->embed_images({.data = torch::cat(pixels)}));
      EXPECT_EQ(input.spans.defined(), prefixes);
      const auto alone =
          weft::text::generate(*asked.vlm->language, input, asked.options.generate).front();
      EXPECT_EQ(answers[i].ids, alone.ids) << i;
      EXPECT_EQ(kept[i].ids, alone.ids) << i;
      EXPECT_EQ(answers[i].damage, "");
      for (const auto& answer : {answers[i], kept[i]}) {
        EXPECT_EQ(answer.prompt_tokens, static_cast<int64_t>(prompt.ids.size()));
        EXPECT_EQ(answer.visual_tokens, 4 * static_cast<int64_t>(images.size()));
      }
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

// Marks of places may be special tokens, which texts are without.
TEST(Answer, KeepsSpecialTokensWhereTheyAreAskedFor) {
  Asked asked;
  const torch::NoGradGuard no_grad;
  for (auto& parameter : asked.vlm->language->named_parameters())
    if (parameter.key() == "norm.weight") parameter.value().zero_();  // all alike: the first, <pad>
  asked.options.generate.max_new_tokens = 3;
  const auto said = [&] {
    return weft::eval::answer(*asked.vlm, asked.encoder, {about("It?", {0})}, SmallTalks::pixels_of,
                              asked.options)
        .front();
  };
  ASSERT_THAT(said().ids, ElementsAre(0, 0, 0));
  EXPECT_EQ(said().text, "");
  asked.options.keep_special = true;
  EXPECT_EQ(said().text, "<pad><pad><pad>");
  asked.options.generate.end_tokens = {0};
  EXPECT_EQ(said().text, "");
}

// A model that writes the placeholder says nothing of an image.
TEST(AnswerAttention, TakesPlaceholdersOfTheAnswerForWords) {
  Asked asked;
  const auto question = about("What is it?", {1});
  const auto prompt = asked.encoder.prompt(question.messages, question.images, {4});
  const auto visual = asked.vlm->see({.data = SmallTalks::pixels_of(1).pixels});
  const auto found = weft::eval::answer_attention(*asked.vlm, prompt, {7, kPlaceholder, 9}, visual);
  EXPECT_EQ(found.sizes(), (std::vector<int64_t>{3, 4}));
  EXPECT_TRUE(
      torch::equal(found, weft::eval::answer_attention(*asked.vlm, prompt, {7, 0, 9}, visual)));
}

// The definition: the mean over layers and heads, of the rows that predict the answer.
TEST(AnswerAttention, IsTheMeanOfWhatTheAnswersPositionsPutOnTheImages) {
  for (const bool prefixes : {false, true}) {
    Asked asked(prefixes);
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
    weft::LmInput text{.ids = torch::tensor(ids, torch::kLong).unsqueeze(0)};
    if (prefixes) {
      text.spans = torch::ones_like(text.ids);
      text.spans.slice(1, static_cast<int64_t>(prompt.ids.size())).zero_();
    }
    weft::nn::AttentionRecord record;
    asked.vlm->language->forward(
        asked.vlm->splice(text, asked.vlm->connector->connect({.visual = visual}).tokens));
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
}

/// One layer of two heads without positions, to which every token of a text looks the same: the
/// first head gives visual token 1, the second token 3, exp(sharp) times what each other gets.
weft::models::Vlm looking_vlm(double sharp) {
  auto out = small_vlm();
  auto connector = weft::checkpoint::make_connector("linear", 8, 12);
  auto language = std::make_shared<weft::text::DecoderLmImpl>(
      weft::text::DecoderLmOptions{.vocab_size = byte_tokenizer()->vocab_size(),
                                   .num_layers = 1,
                                   .block = {.attention = {.hidden_size = 12, .num_heads = 2},
                                             .mlp = {.hidden_size = 12, .intermediate_size = 16},
                                             .norm = weft::nn::NormKind::rms_norm}});
  const torch::NoGradGuard no_grad;
  for (auto& parameter : connector->named_parameters())
    parameter.value().copy_(parameter.value().dim() == 2 ? torch::eye(12, 8) : torch::zeros({12}));
  for (auto& parameter : language->named_parameters()) {
    auto& value = parameter.value();
    const auto& name = parameter.key();
    if (name.ends_with("token_embed.weight")) value.zero_().select(1, 8).fill_(1);
    if (name.ends_with(".q.bias") || name.ends_with(".k.bias")) value.zero_();
    if (name.ends_with(".q.weight")) {  // rows 0 to 5 are the first head's
      value.zero_();
      for (const int64_t row : {0, 6}) value[row][8].fill_(1);
    }
    if (name.ends_with(".k.weight")) {  // a norm makes a unit vector sqrt(12) long
      value.zero_();
      value[0][1].fill_(sharp * std::sqrt(6.0) / 12);
      value[6][3].fill_(sharp * std::sqrt(6.0) / 12);
    }
  }
  return weft::models::Vlm(out->vision, connector, language, out->options);
}

TEST(AnswerMaps, ShowWhereAModelLooksThatWasMadeToLookThere) {
  constexpr double kSharp = 4;
  auto vlm = looking_vlm(kSharp);
  const Asked asked;
  const auto question = about("What is it?", {1});
  const auto prompt = asked.encoder.prompt(question.messages, question.images, {4});
  const weft::EncoderOutput visual{.tokens = torch::eye(4, 8).unsqueeze(0)};
  const std::vector<int64_t> answer = {7, 8, 9};
  const auto maps = weft::eval::answer_maps(*vlm, prompt, answer, visual);
  ASSERT_EQ(maps.sizes(), (std::vector<int64_t>{3, 2, 2}));
  for (int64_t k = 0; k < 3; ++k) {
    // The position that writes token k sees the prompt and the k tokens before.
    const auto others = static_cast<double>(prompt.ids.size()) + static_cast<double>(k) - 1;
    const auto sought = (std::exp(kSharp) + 1) / 2;  // by one head of the two
    const auto expected =
        torch::tensor({{1.0, sought}, {1.0, sought}}) / (std::exp(kSharp) + others);
    EXPECT_TRUE(close(maps[k], expected, 1e-4)) << maps[k] << expected;
  }
}

TEST(AnswerMaps, AreOfTheFirstImagesWholeView) {
  Asked asked;
  const auto question = about("What is it?", {2, 0});
  const auto prompt = asked.encoder.prompt(question.messages, question.images, {4, 4});
  const auto visual = asked.vlm->see(
      {.data = torch::cat({SmallTalks::pixels_of(2).pixels, SmallTalks::pixels_of(0).pixels})});
  const std::vector<int64_t> answer = {7, 8};
  const auto rests = weft::eval::answer_attention(*asked.vlm, prompt, answer, visual);
  const auto maps = weft::eval::answer_maps(*asked.vlm, prompt, answer, visual);
  EXPECT_TRUE(torch::equal(maps, rests.narrow(1, 0, 4).view({2, 2, 2})));
  // The same of the question, read anew or from kept features.
  const auto features =
      weft::eval::VisualFeatures::compute(*asked.vlm, 3, SmallTalks::pixels_of, {});
  EXPECT_TRUE(close(
      weft::eval::answer_maps(*asked.vlm, asked.encoder, question, answer, SmallTalks::pixels_of),
      maps, 1e-5));
  EXPECT_TRUE(close(weft::eval::answer_maps(*asked.vlm, asked.encoder, question, answer,
                                            features->reader(), &*features),
                    maps, 1e-5));
  EXPECT_FALSE(weft::eval::answer_maps(*asked.vlm, asked.encoder, about("A dog?", {}), answer,
                                       SmallTalks::pixels_of)
                   .defined());

  // Of an image in tiles, its base view: 4 of its tokens, and then a grid of 2 x 4 with newlines.
  weft::models::Vlm tiled(
      asked.vlm->vision,
      std::make_shared<weft::fusion::AnyResImpl>(
          asked.vlm->connector,
          weft::fusion::AnyResOptions{.tile_size = 8, .grid_pinpoints = {{8, 16}}}),
      asked.vlm->language, asked.vlm->options);
  tiled->eval();
  const auto cut = tiled->see(
      {.data = torch::cat({SmallTalks::pixels_of(0).pixels, SmallTalks::pixels_of(1).pixels,
                           SmallTalks::pixels_of(2).pixels}),
       .images = torch::tensor({{0, 1, 2, 8, 16, 1}}, torch::kLong)});
  const auto one = about("What is it?", {0});
  const auto longer = asked.encoder.prompt(one.messages, one.images, {4 + 2 * 5});
  EXPECT_TRUE(torch::equal(weft::eval::answer_maps(*tiled, longer, answer, cut),
                           weft::eval::answer_attention(*tiled, longer, answer, cut)
                               .narrow(1, 0, 4)
                               .reshape({2, 2, 2})));

  // A resampler's queries are no places.
  weft::models::Vlm sampled(asked.vlm->vision, weft::checkpoint::make_connector("resampler", 8, 12),
                            asked.vlm->language, asked.vlm->options);
  EXPECT_FALSE(weft::eval::answer_maps(*sampled, prompt, answer, visual).defined());
}

}  // namespace answers_test
