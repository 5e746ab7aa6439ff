#include <filesystem>
#include <fstream>
#include <set>

#include <weft/data/conversations.hpp>
#include <weft/data/sample.hpp>

#include "data/test_shards.hpp"
#include "support/gmock.hpp"
#include "support/shared_data.hpp"

namespace conversations_test {

using namespace weft::test;
using weft::Json;
using weft::data::BadCause;
using weft::data::BadSample;
using weft::data::Conversation;
using weft::data::ConversationSource;

Conversation of(const std::string& json, std::vector<std::string>* paths = nullptr) {
  std::vector<std::string> images;
  auto out = weft::data::to_conversation(Json::parse(json), images, "a.json: conversation 7");
  if (paths != nullptr) *paths = images;
  return out;
}

TEST(Conversation, ReadsLlavaMessagesAndPreferences) {
  std::vector<std::string> paths;
  const auto llava = of(R"({"id": "x", "image": "a/b.jpg", "conversations": [
      {"from": "system", "value": "S"}, {"from": "human", "value": "<image>\nQ"},
      {"from": "gpt", "value": "A"}]})",
                        &paths);
  EXPECT_EQ(llava.id, "x");
  EXPECT_THAT(paths, ElementsAre("a/b.jpg"));
  ASSERT_EQ(llava.messages.size(), 3u);
  EXPECT_EQ(llava.messages[0].role, "system");
  EXPECT_EQ(llava.messages[1].content, "<image>\nQ");
  const auto messages = of(R"({"id": 3, "images": ["a", "b"], "messages": [
      {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]})",
                           &paths);
  EXPECT_EQ(messages.id, "3");
  EXPECT_THAT(paths, ElementsAre("a", "b"));
  const auto preference = of(R"({"conversations": [{"from": "human", "value": "Q"}],
      "chosen": {"from": "gpt", "value": "good"}, "rejected": "bad", "references": ["r"]})");
  EXPECT_EQ(preference.messages.back().content, "good");
  EXPECT_EQ(preference.rejected, "bad");
  EXPECT_THAT(preference.references, ElementsAre("r"));
}

TEST(Conversation, NamesWhatIsWrong) {
  const auto error = [](const std::string& json) -> std::string {
    try {
      of(json);
    } catch (const BadSample& error) {
      EXPECT_EQ(error.cause(), BadCause::bad_conversation);
      return error.what();
    }
    return "";
  };
  const auto turns = [&](const std::string& list) {
    return error(R"({"conversations": [)" + list + "]}");
  };
  const std::string q = R"({"from": "human", "value": "Q"})",
                    a = R"({"from": "gpt", "value": "A"})";
  EXPECT_EQ(error("[]"), "a.json: conversation 7: expected an object, found array");
  EXPECT_THAT(error("{}"), HasSubstr("'conversations' or 'messages', found none"));
  EXPECT_THAT(turns(a + "," + q),
              HasSubstr("turn 1: expected one of user, found one of assistant"));
  EXPECT_THAT(turns(q + "," + q), HasSubstr("turn 2: expected one of assistant"));
  EXPECT_THAT(turns(q), HasSubstr("expected a question and an answer, found 1 turn(s)"));
  EXPECT_THAT(turns(q + "," + a + "," + q), HasSubstr("an answer at the end"));
  EXPECT_THAT(turns(q + R"(,{"from": "gpt", "value": " \n"})"), HasSubstr("the answer is empty"));
  EXPECT_THAT(turns(R"({"from": "bot", "value": "x"})"), HasSubstr("found 'bot'"));
  EXPECT_THAT(turns(R"({"from": "human", "value": 3},)" + a), HasSubstr("to be a text"));
  EXPECT_THAT(error(R"({"image": 3, "conversations": [)" + q + "," + a + "]}"),
              HasSubstr("a path or an array of them"));
  EXPECT_THAT(error(R"({"conversations": [)" + q + "," + a + R"(], "chosen": "x"})"),
              HasSubstr("a question in front of 'chosen'"));
}

TEST(Conversation, QuestionsAloneKeepTheirImages) {
  Conversation talk{.id = "t",
                    .images = {4, 2},
                    .messages = {{.role = "system", .content = "S"},
                                 {.role = "user", .content = "<image><image>\nQ1"},
                                 {.role = "assistant", .content = "A1"},
                                 {.role = "user", .content = "Q2"},
                                 {.role = "assistant", .content = "A2"}}};
  const auto turns = weft::data::single_turns(talk);
  ASSERT_EQ(turns.size(), 2u);
  EXPECT_EQ(turns[0].messages[1].content, "<image><image>\nQ1");
  EXPECT_EQ(turns[1].messages[1].content, "<image><image>\nQ2");
  EXPECT_EQ(turns[1].messages[0].content, "S");
  EXPECT_EQ(turns[1].messages[2].content, "A2");
  EXPECT_THAT(turns[1].images, ElementsAre(4, 2));
  talk.images = {4, 2, 7};
  EXPECT_THAT([&] { weft::data::single_turns(talk); },
              ThrowsMessage<BadSample>(HasSubstr("3 image(s), and 2 mark(s)")));
}

std::string two_conversations() {
  return R"([{"id": "one", "image": "x.png", "conversations": [
      {"from": "human", "value": "<image>\nQ"}, {"from": "gpt", "value": "A"},
      {"from": "human", "value": "Q2"}, {"from": "gpt", "value": "A2"}]},
    {"id": "bad", "conversations": []},
    {"id": "two", "image": "x.png", "conversations": [
      {"from": "human", "value": "Q\n<image>"}, {"from": "gpt", "value": "B"}]}])";
}

TEST(ConversationSource, ReadsListsAndCountsWhatIsNone) {
  const TempFolder folder;
  std::ofstream(folder / "a.json") << two_conversations();
  std::ofstream(folder / "b.jsonl")
      << R"({"id": "three", "messages": [{"role": "user", "content": "Q"}, )"
      << R"({"role": "assistant", "content": "C"}]})"
      << "\n\n";
  const ConversationSource source(
      {.data = (folder / "a.json").string() + "::" + (folder / "b.jsonl").string(),
       .images = folder.path()});
  EXPECT_EQ(source.size(), 3);
  EXPECT_EQ(source.images(), 1);
  EXPECT_EQ(source.bad().count(BadCause::bad_conversation), 1);
  EXPECT_EQ(source.read(1).id, "two");
  EXPECT_THAT(source.read(1).images, ElementsAre(0));
  EXPECT_EQ(source.read(2).id, "three");
  EXPECT_THAT(
      [&] { source.image(0); },
      ThrowsMessage<BadSample>(AllOf(HasSubstr("x.png: no such file"), HasSubstr("--images"))));
  const ConversationSource alone({.data = folder / "a.json", .alone = true});
  EXPECT_EQ(alone.size(), 3);
  EXPECT_EQ(alone.read(1).messages[0].content, "<image>\nQ2");
}

TEST(ConversationSource, AnImageAmongOthersIsNotTheSameAlone) {
  const TempFolder folder;
  std::ofstream(folder / "a.json") << R"([
    {"id": "one", "image": "x.png", "conversations": [
      {"from": "human", "value": "<image>\nQ"}, {"from": "gpt", "value": "A"}]},
    {"id": "two", "image": ["y.png", "x.png"], "conversations": [
      {"from": "human", "value": "<image><image>\nQ"}, {"from": "gpt", "value": "B"}]},
    {"id": "again", "image": "x.png", "conversations": [
      {"from": "human", "value": "<image>\nQ2"}, {"from": "gpt", "value": "C"}]}])";
  const ConversationSource source({.data = folder / "a.json"});
  EXPECT_EQ(source.images(), 3);
  EXPECT_THAT(source.read(0).images, ElementsAre(0));
  EXPECT_THAT(source.read(1).images, ElementsAre(1, 2));
  EXPECT_THAT(source.read(2).images, ElementsAre(0));
  EXPECT_EQ(source.image_name(0), source.image_name(2));
  EXPECT_FALSE(source.among_others(0));
  EXPECT_TRUE(source.among_others(1));
  EXPECT_TRUE(source.among_others(2));
}

// One file of many that cannot be read, or no file's name at all, is no reason to end a run.
TEST(ConversationSource, CountsWhatCannotBeRead) {
  const TempFolder folder;
  std::ofstream(folder / "a.json") << R"([{"id": "one", "image": "large.png", "conversations": [
              {"from": "human", "value": "<image>Q"}, {"from": "gpt", "value": "A"}]},
             {"id": "two", "image": ")"
                                   << std::string(300, 'x') << R"(.png", "conversations": [
              {"from": "human", "value": "<image>Q"}, {"from": "gpt", "value": "A"}]},
             {"id": "three", "image": "y.png", "conversations": [
              {"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"},
              {"from": "human", "value": "Q2"}, {"from": "gpt", "value": "A2"}]}])";
  std::ofstream(folder / "large.png").close();
  std::filesystem::resize_file(folder / "large.png", 100'000'001);
  const ConversationSource source({.data = folder / "a.json", .images = folder.path()});
  EXPECT_THAT([&] { source.image(0); },
              ThrowsMessage<BadSample>(HasSubstr("more than the limit of 100000000")));
  EXPECT_THAT([&] { source.image(1); }, ThrowsMessage<BadSample>(HasSubstr("no such file")));
  const ConversationSource alone({.data = folder / "a.json", .alone = true});
  EXPECT_EQ(alone.size(), 2);
  EXPECT_EQ(alone.bad().count(BadCause::image_count), 1);
}

TEST(ConversationSource, LeavesOutWhatAnotherListNames) {
  const TempFolder folder;
  std::ofstream(folder / "a.json") << two_conversations();
  std::ofstream(folder / "without.json") << R"([{"id": "two"}])";
  const ConversationSource source({.data = folder / "a.json", .exclude = folder / "without.json"});
  EXPECT_EQ(source.size(), 1);
  // Ids may be numbers, and images under either name.
  std::ofstream(folder / "b.json") << R"([
    {"id": 7, "conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
    {"id": 8, "images": ["y.png"], "conversations": [
      {"from": "human", "value": "<image>Q"}, {"from": "gpt", "value": "A"}]},
    {"id": 9, "conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}])";
  std::ofstream(folder / "numbers.json") << R"([{"id": 7}, {"images": ["other/y.jpg"]}])";
  const ConversationSource rest({.data = folder / "b.json", .exclude = folder / "numbers.json"});
  ASSERT_EQ(rest.size(), 1);
  EXPECT_EQ(rest.read(0).id, "9");
  std::ofstream(folder / "images.json") << R"([{"image": "other/x.jpg"}])";
  EXPECT_THAT(
      [&] { ConversationSource({.data = folder / "a.json", .exclude = folder / "images.json"}); },
      ThrowsMessage<weft::Error>(HasSubstr("holds no conversation")));
}

TEST(ConversationSource, MakesConversationsOfCaptions) {
  const TempFolder folder;
  std::vector<TestSample> samples;
  for (int i = 0; i < 3; ++i) {
    samples.push_back(sample_of(i));
    samples.back().fields.erase("txt");
    samples.back().fields["json"] = R"({"captions": ["a", "b", "c"]})";
  }
  samples[2].fields["json"] = R"({"conversations": [{"from": "human", "value": "<image>Q"},
                                  {"from": "gpt", "value": "A"}]})";
  write_shard(folder / "s.tar", samples);
  const ConversationSource source({.data = folder / "s.tar", .caption_prompt = "Say."});
  EXPECT_EQ(source.size(), 3);
  std::set<std::string> seen;
  for (int64_t epoch = 0; epoch < 40; ++epoch) {
    const auto one = source.read(1, epoch);
    EXPECT_EQ(one.messages[0].content, "<image>\nSay.");
    EXPECT_THAT(one.images, ElementsAre(1));
    EXPECT_THAT(one.references, ElementsAre("a", "b", "c"));
    EXPECT_EQ(one.messages[1].content, source.read(1, epoch).messages[1].content);
    seen.insert(one.messages[1].content);
  }
  EXPECT_EQ(seen.size(), 3u);
  EXPECT_EQ(source.read(2).messages[0].content, "<image>Q");
  EXPECT_EQ(source.image(2).rgb[0], 2);
}

TEST(ConversationSource, TakesTextsWithoutImagesFromShards) {
  const TempFolder folder;
  auto text = sample_of(0), caption = sample_of(1);
  text.fields = {{"json", R"({"conversations": [{"from": "human", "value": "Q"},
                                                {"from": "gpt", "value": "A"}]})"}};
  caption.fields.erase("png");
  write_shard(folder / "s.tar", {text, caption, sample_of(2)});
  const ConversationSource source({.data = folder / "s.tar"});
  EXPECT_EQ(source.size(), 3);
  EXPECT_TRUE(source.read(0).images.empty());
  EXPECT_THAT([&] { source.read(1); }, ThrowsMessage<BadSample>(HasSubstr("has no jpg")));
  EXPECT_THAT(source.read(2).images, ElementsAre(2));
}

TEST(ConversationSource, ErrorsSayWhatTheDataIs) {
  const TempFolder folder;
  std::ofstream(folder / "a.json") << "{}";
  EXPECT_THAT([&] { ConversationSource({.data = folder / "a.json"}); },
              ThrowsMessage<weft::Error>(HasSubstr("expected an array of conversations")));
  std::ofstream(folder / "b.jsonl") << "{}\nnonsense\n";
  EXPECT_THAT([&] { ConversationSource({.data = folder / "b.jsonl"}); },
              ThrowsMessage<weft::Error>(HasSubstr("b.jsonl: line 2")));
}

// What the alignment stage leaves out, it has not seen.
TEST(ConversationSource, TheValidationImagesAreNotInTheAlignmentData) {
  const auto val = shared_file("data/llava/flickr8k_val.json");
  WEFT_SKIP_WITHOUT(val);
  const ConversationSource source(
      {.data = shared_file("data/flickr8k-128/train-*.tar"), .exclude = val});
  const ConversationSource validation({.data = val});
  std::set<std::string> ids;
  for (int64_t i = 0; i < validation.size(); ++i) ids.insert(validation.read(i).id);
  EXPECT_EQ(ids.size(), 60u);
  EXPECT_EQ(source.size(), 6832 - 60);
  for (int64_t i = 0; i < source.size(); ++i) EXPECT_FALSE(ids.contains(source.read(i).id));
}

}  // namespace conversations_test
