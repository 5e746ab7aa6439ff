#include <weft/data/conversation_tokens.hpp>
#include <weft/data/sample.hpp>
#include <weft/tokenizers/added_tokens.hpp>
#include <weft/tokenizers/conversation.hpp>

#include "data/byte_tokenizer.hpp"
#include "support/gmock.hpp"

namespace conversation_tokens_test {

using namespace weft::test;
using weft::data::BadSample;
using weft::data::Conversation;
using weft::data::ConversationEncoder;
using weft::data::ConversationEncoderOptions;
using weft::data::ConversationTokens;
using weft::data::Turns;

constexpr int64_t kImage = -200;

ConversationEncoder encoder(const std::string& style = "chatml", Turns turns = Turns::joint,
                            int64_t max_length = 2048) {
  return {
      byte_tokenizer(), weft::tokenizers::conversation_template(style, "/nowhere"),
      ConversationEncoderOptions{.image_token = kImage, .turns = turns, .max_length = max_length}};
}

Conversation talk() {
  return {.id = "t",
          .images = {5},
          .messages = {{.role = "user", .content = "<image>\nWhat is it?"},
                       {.role = "assistant", .content = "A dog."},
                       {.role = "user", .content = "Which colour, \xE2\x82\xAC?"},
                       {.role = "assistant", .content = "Brown \xF0\x9F\x90\x95."}}};
}

/// The ids that are learned, from their targets.
std::vector<int64_t> learned(const ConversationTokens& tokens) {
  std::vector<int64_t> out;
  for (size_t i = 0; i < tokens.targets.size(); ++i)
    if (tokens.targets[i] != -100) out.push_back(tokens.targets[i]);
  return out;
}

TEST(ConversationEncoder, LearnsTheAnswersAndTheirEndsAndNothingElse) {
  const auto tokens = encoder().encode(talk(), {3});
  EXPECT_EQ(byte_tokenizer()->decode(learned(tokens), false),
            "A dog.<|im_end|>Brown \xF0\x9F\x90\x95.<|im_end|>");
  EXPECT_EQ(std::ranges::count(tokens.ids, kImage), 3);
  EXPECT_THAT(tokens.images, ElementsAre(5));
  ASSERT_EQ(tokens.ids.size(), tokens.targets.size());
  for (size_t i = 0; i + 1 < tokens.ids.size(); ++i)
    if (tokens.targets[i] != -100) {
      EXPECT_EQ(tokens.targets[i], tokens.ids[i + 1]);
    }
  std::vector<int64_t> words;
  for (const auto id : tokens.ids)
    if (id != kImage) words.push_back(id);
  EXPECT_EQ(byte_tokenizer()->decode(words, false),
            "<|im_start|>user\n\nWhat is it?<|im_end|>\n<|im_start|>assistant\nA dog.<|im_end|>\n"
            "<|im_start|>user\nWhich colour, \xE2\x82\xAC?<|im_end|>\n<|im_start|>assistant\n"
            "Brown \xF0\x9F\x90\x95.<|im_end|>\n");
}

TEST(ConversationEncoder, SharedQuestionsAreTheirOwnConversationsBehindOneImage) {
  const auto shared = encoder("chatml", Turns::shared).encode(talk(), {7});
  const auto turns = weft::data::single_turns(talk());
  ASSERT_EQ(shared.branches.size(), shared.ids.size());
  EXPECT_EQ(std::ranges::count(shared.ids, kImage), 7);
  for (int64_t branch = 1; branch <= 2; ++branch) {
    const auto alone = encoder().encode(turns[static_cast<size_t>(branch - 1)], {7});
    std::vector<int64_t> ids, targets;
    for (size_t i = 0; i < shared.ids.size(); ++i)
      if (shared.branches[i] == 0 || shared.branches[i] == branch) {
        ids.push_back(shared.ids[i]);
        targets.push_back(shared.targets[i]);
      }
    EXPECT_EQ(ids, alone.ids);
    EXPECT_EQ(targets, alone.targets);
  }
  EXPECT_FALSE(shared.copied);
}

// A template that writes nothing between images and answer, and a first question whose image stands
// behind its words: each question is what it is alone, with the images to itself.
TEST(ConversationEncoder, QuestionsThatCannotShareTheirImagesHaveCopies) {
  auto behind = talk();
  behind.messages[0].content = "What is it?\n<image>";
  for (const auto& [style, one] : {std::pair{"plain", talk()}, std::pair{"chatml", behind}}) {
    const auto copied = encoder(style, Turns::shared).encode(one, {7});
    EXPECT_TRUE(copied.copied);
    EXPECT_THAT(copied.images, ElementsAre(5, 5));
    EXPECT_EQ(std::ranges::count(copied.ids, kImage), 14);
    const auto turns = weft::data::single_turns(one);
    for (int64_t branch = 1; branch <= 2; ++branch) {
      const auto alone = encoder(style).encode(turns[static_cast<size_t>(branch - 1)], {7});
      std::vector<int64_t> ids, targets;
      for (size_t i = 0; i < copied.ids.size(); ++i)
        if (copied.branches[i] == 0 || copied.branches[i] == branch) {
          ids.push_back(copied.ids[i]);
          targets.push_back(copied.targets[i]);
        }
      EXPECT_EQ(ids, alone.ids) << style;
      EXPECT_EQ(targets, alone.targets) << style;
    }
  }
  // Without an image `plain` is the answer alone, from its first token on.
  auto blind = talk();
  blind.images.clear();
  blind.messages[0].content = "What is it?";
  blind.messages[3].content = "A dog too.";
  const auto bare = encoder("plain", Turns::shared).encode(blind, {});
  const auto answers = weft::data::single_turns(blind);
  for (int64_t branch = 1; branch <= 2; ++branch) {
    const auto alone = encoder("plain").encode(answers[static_cast<size_t>(branch - 1)], {});
    std::vector<int64_t> targets;
    for (size_t i = 0; i < bare.ids.size(); ++i)
      if (bare.branches[i] == 0 || bare.branches[i] == branch) targets.push_back(bare.targets[i]);
    EXPECT_EQ(targets, alone.targets);
  }
  // A second question without room leaves its images out too.
  const auto first = encoder().encode(weft::data::single_turns(behind)[0], {7}).ids.size();
  const auto some =
      encoder("chatml", Turns::shared, static_cast<int64_t>(first) + 3).encode(behind, {7});
  EXPECT_TRUE(some.cut && some.copied);
  EXPECT_THAT(some.images, ElementsAre(5));
}

TEST(ConversationEncoder, CutsWhatIsTooLong) {
  const auto whole = encoder().encode(talk(), {3});
  const auto length = static_cast<int64_t>(whole.ids.size()) - 4;
  const auto cut = encoder("chatml", Turns::joint, length).encode(talk(), {3});
  EXPECT_TRUE(cut.cut);
  EXPECT_FALSE(whole.cut);
  EXPECT_EQ(static_cast<int64_t>(cut.ids.size()), length);
  EXPECT_EQ(cut.targets.back(), -100);
  EXPECT_THAT(
      [] { encoder("chatml", Turns::joint, 10).encode(talk(), {30}); },
      ThrowsMessage<BadSample>(AllOf(HasSubstr("conversation 't'"), HasSubstr("--max-length"))));
  const auto first = encoder().encode(weft::data::single_turns(talk())[0], {7}).ids.size();
  const auto some =
      encoder("chatml", Turns::shared, static_cast<int64_t>(first) + 3).encode(talk(), {7});
  EXPECT_TRUE(some.cut);
  EXPECT_EQ(*std::ranges::max_element(some.branches), 1);
}

TEST(ConversationEncoder, CountsMarks) {
  EXPECT_THAT(
      [] {
        encoder().encode(talk(), {3, 3});
      },
      ThrowsMessage<BadSample>(HasSubstr("2 image(s), and 1 mark(s) <image>")));
  auto two = talk();
  two.messages[2].content = "And <image>?";
  two.images = {5, 6};
  const auto tokens = encoder().encode(two, {2, 4});
  EXPECT_EQ(std::ranges::count(tokens.ids, kImage), 6);
}

// Words that the vocabulary reads as the placeholder stand for no image: the model would stop at
// them in the middle of an epoch.
TEST(ConversationEncoder, CountsWordsThatAreThePlaceholder) {
  const auto tokenizer =
      weft::tokenizers::with_added_tokens(*byte_tokenizer(), {"<pic>"}, {.special = true});
  const auto id = *tokenizer->id("<pic>");
  const ConversationEncoder text(tokenizer,
                                 weft::tokenizers::conversation_template("chatml", "/nowhere"),
                                 ConversationEncoderOptions{.image_token = id});
  EXPECT_EQ(std::ranges::count(text.encode(talk(), {3}).ids, id), 3);
  auto said = talk();
  said.messages[1].content = "A dog <pic>.";
  EXPECT_THAT([&] { text.encode(said, {3}); },
              ThrowsMessage<BadSample>(HasSubstr("hold <pic>, which the vocabulary reads")));
  said.images.clear();
  said.messages[0].content = "What is <pic>?";
  EXPECT_THROW(text.encode(said, {}), BadSample);
}

// A template of parts gets parts; the image's own tokens stand where it writes the mark.
TEST(ConversationEncoder, WritesListsOfPartsForTemplatesThatReadNothingElse) {
  const ConversationEncoder parts(
      byte_tokenizer(),
      weft::tokenizers::ChatTemplate(
          "{% for message in messages %}{{ message['role'] }}:{% for part in message['content'] %}"
          "{% if part['type'] == 'text' %}{{ part['text'] }}{% elif part['type'] == 'image' %}"
          "{{ '<image>' }}{% endif %}{% endfor %};\n{% endfor %}"),
      ConversationEncoderOptions{.image_token = kImage});
  const auto words_of = [](const char* text) {
    return byte_tokenizer()->encode(text, {.add_special_tokens = false}).ids;
  };
  auto ids = words_of("[");
  const auto close = words_of("]");
  ids.insert(ids.end(), 3, kImage);
  ids.insert(ids.end(), close.begin(), close.end());
  const auto tokens = parts.encode(talk(), {{3, ids}});
  EXPECT_EQ(std::ranges::count(tokens.ids, kImage), 3);
  std::vector<int64_t> words;
  for (const auto id : tokens.ids)
    if (id != kImage) words.push_back(id);
  EXPECT_EQ(byte_tokenizer()->decode(words, false),
            "user:[]What is it?;\nassistant:A dog.;\nuser:Which colour, \xE2\x82\xAC?;\nassistant:"
            "Brown \xF0\x9F\x90\x95.;\n");
  EXPECT_EQ(byte_tokenizer()->decode(learned(tokens), false), "A dog.;Brown \xF0\x9F\x90\x95.;");
}

// Zero supervised tokens are an error that shows the sample.
TEST(ConversationEncoder, ShowsASampleOfWhichNothingIsLearned) {
  const ConversationEncoder mute(byte_tokenizer(),
                                 weft::tokenizers::ChatTemplate("{{ messages[0].content }}"),
                                 ConversationEncoderOptions{.image_token = kImage});
  EXPECT_THAT([&] { mute.encode(talk(), {3}); },
              ThrowsMessage<weft::Error>(
                  AllOf(HasSubstr("no token of it is learned"), HasSubstr("What is it?"))));
}

TEST(ConversationEncoder, PromptsEndWhereTheAnswerBegins) {
  auto messages = talk().messages;
  messages.pop_back();
  const auto prompt = encoder().prompt(messages, {5}, {3});
  const auto whole = encoder().encode(talk(), {3});
  ASSERT_LT(prompt.ids.size(), whole.ids.size());
  EXPECT_TRUE(std::equal(prompt.ids.begin(), prompt.ids.end(), whole.ids.begin()));
  EXPECT_NE(whole.targets[prompt.ids.size() - 1], -100);
}

ConversationEncoder prefix_encoder(Turns turns = Turns::joint) {
  return {
      byte_tokenizer(), weft::tokenizers::conversation_template("paligemma", "/nowhere"),
      ConversationEncoderOptions{.image_token = kImage, .turns = turns, .prefix_attention = true}};
}

// PaliGemma's: images and question are the prefix, and its tokens are those of a prompt.
TEST(ConversationEncoder, PrefixesEndInFrontOfTheFirstAnswer) {
  const auto one = weft::data::single_turns(talk())[0];
  const auto tokens = prefix_encoder().encode(one, {3});
  const auto prompt = prefix_encoder().prompt({one.messages[0]}, {5}, {3});
  EXPECT_EQ(prompt.prefix, static_cast<int64_t>(prompt.ids.size()));
  EXPECT_EQ(tokens.prefix, prompt.prefix);
  ASSERT_GT(tokens.ids.size(), prompt.ids.size());
  EXPECT_TRUE(std::equal(prompt.ids.begin(), prompt.ids.end(), tokens.ids.begin()));
  EXPECT_EQ(byte_tokenizer()->decode(learned(tokens), false), "A dog.<eos>");
  EXPECT_NE(tokens.targets[prompt.ids.size() - 1], -100);
  EXPECT_EQ(tokens.ids[0], kImage);
  EXPECT_EQ(byte_tokenizer()->decode({prompt.ids.begin() + 3, prompt.ids.end()}, false),
            "<bos>What is it?\n");

  auto messages = talk().messages;
  EXPECT_EQ(prefix_encoder().encode(talk(), {3}).prefix, prompt.prefix);
  messages.pop_back();
  EXPECT_EQ(prefix_encoder().prompt(messages, {5}, {3}).prefix, prompt.prefix);
  EXPECT_EQ(encoder().encode(one, {3}).prefix, 0);
  EXPECT_EQ(encoder().prompt(messages, {5}, {3}).prefix, 0);
  EXPECT_THAT([] { prefix_encoder(Turns::shared); },
              ThrowsMessage<weft::Error>(HasSubstr("take the turns 'alone'")));
}

TEST(ConversationEncoder, ShowsWhatIsLearned) {
  const auto text = encoder();
  EXPECT_EQ(text.show(text.encode(weft::data::single_turns(talk())[0], {3}), false),
            "<|im_start|>user\n<image: 3 tokens>\nWhat is it?<|im_end|>\n<|im_start|>assistant\n"
            "[[A dog.<|im_end|>]]\n");
}

TEST(ConversationEncoder, RejectedAnswersTakeThePlaceOfTheLast) {
  auto one = talk();
  EXPECT_THROW(encoder().encode_rejected(one, {3}), BadSample);
  one.rejected = "Blue.";
  const auto tokens = encoder().encode_rejected(one, {3});
  EXPECT_EQ(byte_tokenizer()->decode(learned(tokens), false), "A dog.<|im_end|>Blue.<|im_end|>");
}

}  // namespace conversation_tokens_test
