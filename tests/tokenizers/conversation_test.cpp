#include <fstream>

#include <gmock/gmock.h>

#include <weft/core/error.hpp>
#include <weft/tokenizers/conversation.hpp>

#include "support/gmock.hpp"

namespace conversation_test {

using namespace weft::test;
using weft::tokenizers::conversation_template;
using weft::tokenizers::Message;

const std::vector<Message> kTalk = {{.role = "user", .content = "<image>\nWhat is it?"},
                                    {.role = "assistant", .content = "A dog."},
                                    {.role = "user", .content = "Which colour?"},
                                    {.role = "assistant", .content = "Brown."}};

/// A folder whose tokenizer_config.json names Llama's tokens.
void write_tokens(const TempFolder& folder) {
  std::ofstream(folder / "tokenizer_config.json")
      << R"({"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>"})";
}

/// The text with what is learned between brackets.
std::string marked(const std::string& style, const TempFolder& folder,
                   const std::vector<Message>& messages = kTalk) {
  const auto chat = conversation_template(style, folder.path()).render_chat(messages);
  std::string out;
  size_t at = 0;
  for (const auto& span : chat.assistant()) {
    out += chat.text.substr(at, span.begin - at) + "[[" +
           chat.text.substr(span.begin, span.end - span.begin) + "]]";
    at = span.end;
  }
  return out + chat.text.substr(at);
}

// The texts of LLaVA's conversation.py.
TEST(ConversationTemplate, WritesAndMarksAsLlava) {
  const TempFolder folder;
  write_tokens(folder);
  const std::string system =
      "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
      "helpful, detailed, and polite answers to the user's questions. ";
  EXPECT_EQ(marked("v1", folder),
            "<s>" + system +
                "USER: <image>\nWhat is it? ASSISTANT:[[ A dog.</s>]]USER: Which colour? "
                "ASSISTANT:[[ Brown.</s>]]");
  EXPECT_EQ(marked("llama_2", folder),
            "<s>[INST] <<SYS>>\nYou are a helpful language and vision assistant. You are able to "
            "understand the visual content that the user provides, and assist the user with a "
            "variety of tasks using natural language.\n<</SYS>>\n\n<image>\nWhat is it? "
            "[/INST][[ A dog. </s>]]<s>[INST] Which colour? [/INST][[ Brown. </s>]]");
  EXPECT_EQ(marked("chatml", folder),
            "<|im_start|>user\n<image>\nWhat is it?<|im_end|>\n<|im_start|>assistant\n[[A "
            "dog.<|im_end|>]]\n<|im_start|>user\nWhich colour?<|im_end|>\n<|im_start|>assistant\n"
            "[[Brown.<|im_end|>]]\n");
  EXPECT_EQ(marked("plain", folder, {kTalk[0], kTalk[1]}), "<s><image>[[A dog.\n]]");
}

// The texts of transformers' PaliGemmaProcessor, whose ids tests/parity compares.
TEST(ConversationTemplate, WritesAndMarksAsPaligemma) {
  const TempFolder folder;
  EXPECT_EQ(marked("paligemma", folder, {kTalk[0], kTalk[1]}),
            "<image><bos>What is it?\n[[A dog.<eos>]]");
  write_tokens(folder);
  EXPECT_EQ(marked("paligemma", folder),
            "<image><s>What is it?\n[[A dog.</s>]]Which colour?\n[[Brown.</s>]]");
  EXPECT_EQ(marked("paligemma", folder, {{.role = "user", .content = "What is it?\n<image>"}}),
            "<image><s>What is it?\n");
  EXPECT_EQ(marked("paligemma", folder, {{.role = "user", .content = "<image><image>caption en "}}),
            "<image><image><s>caption en \n");
}

TEST(ConversationTemplate, TellsWhetherATemplateReadsListsOfParts) {
  using weft::tokenizers::ChatTemplate;
  using weft::tokenizers::reads_parts_only;
  const TempFolder folder;
  for (const std::string style : {"plain", "v1", "llama_2", "chatml"})
    EXPECT_FALSE(reads_parts_only(conversation_template(style, folder.path()))) << style;
  const std::string parts =
      "{% for part in m.content %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
      "{% endfor %}";
  EXPECT_TRUE(reads_parts_only(ChatTemplate("{% for m in messages %}" + parts + "{% endfor %}")));
  EXPECT_FALSE(reads_parts_only(
      ChatTemplate("{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}" +
                   parts + "{% endif %}{% endfor %}")));
  EXPECT_FALSE(reads_parts_only(ChatTemplate("{{ raise_exception('no') }}")));
}

TEST(ConversationTemplate, TellsWhetherATemplateWritesImages) {
  using weft::tokenizers::ChatTemplate;
  using weft::tokenizers::writes_images;
  const TempFolder folder;
  for (const std::string style : {"plain", "v1", "llama_2", "chatml"})
    EXPECT_FALSE(writes_images(conversation_template(style, folder.path()))) << style;
  const ChatTemplate both(
      "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}"
      "{% for part in m.content %}{% if part['type'] == 'text' %}{{ part['text'] }}"
      "{% elif part['type'] == 'image' %}{{ '<pad>' }}{% endif %}{% endfor %}{% endif %}"
      "{% endfor %}");
  EXPECT_FALSE(writes_images(both));
  EXPECT_TRUE(writes_images(both, "<pad>"));
  EXPECT_FALSE(writes_images(ChatTemplate("{{ messages[0].content }}"), "<pad>"));
}

TEST(ConversationTemplate, CutsContentsIntoPartsAtTheMarks) {
  const auto parts = [](const std::string& content) {
    return weft::tokenizers::with_parts({{.role = "user", .content = content}})[0].parts.dump();
  };
  const std::string image = R"({"type":"image"})";
  EXPECT_EQ(parts("a\nb"), R"([{"type":"text","text":"a\nb"}])");
  EXPECT_EQ(parts("<image>\nWhat?"), "[" + image + R"(,{"type":"text","text":"What?"}])");
  EXPECT_EQ(parts("<image>\n<image>\n\nWhat?\n<image>"),
            "[" + image + "," + image + R"(,{"type":"text","text":"\nWhat?"},)" + image + "]");
  EXPECT_EQ(parts(""), "[]");
}

TEST(ConversationTemplate, AsksForAnAnswer) {
  const TempFolder folder;
  const auto asked = [&](const std::string& style) {
    return conversation_template(style, folder.path())
        .render_chat({kTalk[2]}, {.add_generation_prompt = true})
        .text;
  };
  EXPECT_THAT(asked("v1"), testing::EndsWith("questions. USER: Which colour? ASSISTANT:"));
  EXPECT_THAT(asked("llama_2"), testing::EndsWith("Which colour? [/INST]"));
  EXPECT_EQ(asked("chatml"), "<|im_start|>user\nWhich colour?<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ConversationTemplate, SystemMessagesTakeThePlaceOfTheOwn) {
  const TempFolder folder;
  std::vector<Message> messages = {{.role = "system", .content = "Be brief."}};
  messages.insert(messages.end(), kTalk.begin(), kTalk.begin() + 2);
  EXPECT_THAT(marked("v1", folder, messages), testing::StartsWith("Be brief. USER: <image>"));
  EXPECT_THAT(marked("llama_2", folder, messages), HasSubstr("<<SYS>>\nBe brief.\n<</SYS>>"));
}

TEST(ConversationTemplate, ReadsFilesAndTheFoldersOwn) {
  const TempFolder folder;
  std::ofstream(folder / "own.jinja") << "{{ messages[0].content }}!";
  EXPECT_EQ(conversation_template(folder / "own.jinja", folder.path()).render_chat(kTalk).text,
            "<image>\nWhat is it?!");
  std::ofstream(folder / "chat_template.jinja") << "{{ messages | length }}";
  EXPECT_EQ(conversation_template("model", folder.path()).render_chat(kTalk).text, "4");
  EXPECT_THAT([&] { conversation_template("lama_2", folder.path()); },
              ThrowsMessage<weft::Error>(
                  AllOf(HasSubstr("conversation template 'lama_2'"), HasSubstr("llama_2"))));
}

}  // namespace conversation_test
