#include <cstdlib>
#include <fstream>
#include <map>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <weft/core/error.hpp>
#include <weft/core/json.hpp>
#include <weft/tokenizers/chat_template.hpp>

#include "support/python.hpp"
#include "support/temp_folder.hpp"

namespace chat_template_test {

using json = nlohmann::ordered_json;
using weft::Json;
using weft::tokenizers::ChatTemplate;
using weft::tokenizers::load_chat_template;
using weft::tokenizers::Message;
using weft::tokenizers::RenderedChat;
using weft::tokenizers::TextSpan;

constexpr int64_t kNow = 1'700'000'000;  // as in the reference

/// The number of characters that begin in front of each byte, and in all at the end.
std::vector<size_t> characters(const std::string& text) {
  std::vector<size_t> out{0};
  for (const char c : text)
    out.push_back(out.back() + ((static_cast<uint8_t>(c) & 0xC0) != 0x80 ? 1 : 0));
  return out;
}

json char_spans(const RenderedChat& chat, const std::vector<TextSpan>& spans) {
  const auto at = characters(chat.text);
  auto out = json::array();
  for (const auto& span : spans) out.push_back({at[span.begin], at[span.end]});
  return out;
}

/// Whether jinja2 rendered the same: the text, or that it raised.
bool agrees(const json& row) {
  RenderedChat ours;
  std::string error;
  try {
    ChatTemplate chat(row["source"].get<std::string>(), "reference");
    chat.set_time(kNow);
    ours = chat.render_spans(Json::parse(row["context"].dump()));
  } catch (const weft::Error& caught) {
    error = caught.what();
  }
  const auto source = row["source"].get<std::string>();
  if (row["text"].is_null()) {
    EXPECT_FALSE(error.empty()) << source << "\nwe wrote: " << ours.text
                                << "\njinja2 raised: " << row["why"];
    return !error.empty();
  }
  const auto expected = row["text"].get<std::string>();
  EXPECT_EQ(error, "") << source << "\njinja2 wrote: " << expected;
  if (!error.empty()) return false;
  EXPECT_EQ(ours.text, expected) << source << '\n' << row["context"];
  if (ours.text != expected) return false;
  auto blocks = json::array();  // empty ones are no spans here
  for (const auto& span : row["generation"])
    if (span[0] != span[1]) blocks.push_back(span);
  EXPECT_EQ(char_spans(ours, ours.generation), blocks) << source;
  if (!row.contains("copied") || row["copied"].is_null())
    return char_spans(ours, ours.generation) == blocks;

  // White space is in our spans and not in the reference's; beyond ASCII, what its texts hold.
  const auto is_space = [&](size_t byte) {
    const auto rest = std::string_view(ours.text).substr(byte);
    return static_cast<uint8_t>(rest[0]) <= 0x20
               ? rest[0] != 1
               : rest.starts_with("\u00a0") || rest.starts_with("\u3000");
  };
  auto copied = json::array();
  const auto at = characters(ours.text);
  for (size_t byte = 0; byte < ours.text.size(); ++byte) {
    if ((static_cast<uint8_t>(ours.text[byte]) & 0xC0) == 0x80 || is_space(byte)) continue;
    for (const auto& message : ours.messages)
      for (const auto& span : message.content)
        if (span.begin <= byte && byte < span.end) copied.push_back({message.message, at[byte]});
  }
  EXPECT_EQ(copied, row["copied"]) << source << '\n' << row["context"];
  return copied == row["copied"];
}

/// Runs the reference and compares; at most three differences are shown.
std::map<std::string, size_t> compare(const std::string& arguments,
                                      const weft::test::TempFolder& folder) {
  const auto out = folder / "rows.jsonl";
  const auto command =
      fmt::format("'{}' -W ignore '{}' {}", weft::test::python(), WEFT_CHAT_TEMPLATE_REFERENCE,
                  fmt::format(fmt::runtime(arguments), out.string()));
  EXPECT_EQ(std::system(command.c_str()), 0);
  std::map<std::string, size_t> rendered;
  std::ifstream in(out);
  size_t failures = 0;
  for (std::string line; failures < 3 && std::getline(in, line);) {
    const auto row = json::parse(line);
    if (!agrees(row)) ++failures;
    if (!row["text"].is_null()) ++rendered[row.value("name", "snippet")];
  }
  return rendered;
}

std::string seed() {
  const char* given = std::getenv("WEFT_PARITY_SEED");
  return given != nullptr ? given : "1";
}

TEST(ChatTemplateReference, SnippetsEqualJinja2) {
  WEFT_NEEDS_PYTHON();
  const weft::test::TempFolder folder;
  const char* count = std::getenv("WEFT_CHAT_TEMPLATE_SNIPPETS");
  const auto rendered =
      compare(fmt::format("snippets {} {} '{{}}'", seed(), count ? count : "2000"), folder);
  EXPECT_GE(rendered.contains("snippet") ? rendered.at("snippet") : 0, 1000u);
}

TEST(ChatTemplateReference, ConversationsEqualTransformers) {
  WEFT_NEEDS_PYTHON();
  const weft::test::TempFolder folder;
  std::vector<std::filesystem::path> files;
  const auto own =
      std::filesystem::path(WEFT_CHAT_TEMPLATE_REFERENCE).parent_path() / "chat_templates";
  for (const auto& root : {own, std::filesystem::path(WEFT_SHARED_DIR) / "data/templates"})
    if (std::filesystem::exists(root))
      for (const auto& entry : std::filesystem::directory_iterator(root))
        if (entry.path().extension() == ".jinja") files.push_back(entry.path());
  const char* models = std::getenv("WEFT_MODELS_DIR");
  const auto smol =
      std::filesystem::path(models ? models : "") / "smollm2-135m/tokenizer_config.json";
  if (std::filesystem::exists(smol)) files.push_back(smol);
  std::string names;
  for (const auto& file : files) names += " '" + file.string() + '\'';
  const auto rendered = compare(fmt::format("chats {} 200 '{{}}'{}", seed(), names), folder);
  for (const auto& file : files) {
    const auto name = file.filename().string();
    EXPECT_GE(rendered.contains(name) ? rendered.at(name) : 0, 40u) << name;
  }
}

std::string render(const std::string& source, const std::string& context = "{}") {
  return ChatTemplate(source, "t").render(Json::parse(context));
}

void expect_error(const std::string& source, const std::string& part) {
  EXPECT_THAT([&] { render(source); },
              testing::ThrowsMessage<weft::Error>(testing::HasSubstr(part)))
      << source.substr(0, 100);
}

TEST(ChatTemplateErrors, NameTemplateAndLine) {
  expect_error("a\n{{ raise_exception('roles must alternate') }}",
               "chat template 't', line 2: roles must alternate");
  expect_error("{% if x %}\n\n", "chat template 't', line 2: the template ends where {% elif %}");
  expect_error("\n{{ x.y }}", "line 2: 'x' is undefined");
  expect_error("{{ 1 | nothing }}", "no filter named 'nothing'");
  expect_error("\xff", "not valid UTF-8 at byte 0");
}

TEST(ChatTemplateLimits, HoldAgainstHostileTemplates) {
  const auto times = [](const std::string& part, int count) {
    std::string out;
    for (int i = 0; i < count; ++i) out += part;
    return out;
  };
  expect_error(times("{{ (", 1) + times("(", 100000), "nested more than");
  expect_error("{{ " + times("-", 100000) + "1 }}", "nested more than");
  expect_error("{{ 1" + times("+1", 100000) + " }}", "levels");
  expect_error("{{ a" + times(".a", 100000) + " }}", "levels");
  expect_error(times("{% if 1 %}", 10000), "nested more than");
  expect_error("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested too deeply");
  expect_error("{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}",
               "loop iterations");
  expect_error("{{ range(100001) }}", "range of more than 100000");
  expect_error("{{ 'a' * 100000000 }}", "too long");
  expect_error("{{ [1] * 100000000 }}", "too long");
  expect_error(
      "{% set ns = namespace(s='aaaaaaaaaa') %}{% for i in range(60) %}"
      "{% set ns.s = ns.s + ns.s %}{% endfor %}",
      "too long");
  expect_error(
      "{% set ns = namespace(x=[]) %}{% for i in range(90000) %}"
      "{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
      "nested more than 200 deep");
  expect_error("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}", "nested too deeply");
  // A long chain comes apart without recursion.
  EXPECT_EQ(render("{% set ns = namespace() %}{% for i in range(90000) %}"
                   "{% set ns.x = namespace(x=ns.x) %}{% endfor %}x"),
            "x");
}

std::string cut(const RenderedChat& chat, const TextSpan& span) {
  return chat.text.substr(span.begin, span.end - span.begin);
}

std::vector<std::string> targets(const std::string& source) {
  ChatTemplate chat(source, "t");
  chat.set_special_tokens(Json::object({{"bos_token", "<s>"}, {"eos_token", "</s>"}}));
  const auto rendered = chat.render_chat(
      {{"user", "assistant"}, {"assistant", " user</s> "}, {"user", "b"}, {"assistant", "b"}});
  std::vector<std::string> out;
  for (const auto& span : rendered.assistant()) out.push_back(cut(rendered, span));
  return out;
}

TEST(ChatTemplateSpans, ReachToTheEndOfTheTurn) {
  using testing::ElementsAre;
  // The contents look like roles and markers, so that searching would go wrong.
  EXPECT_THAT(targets("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + "
                      "'<|im_end|>' + '\\n' }}{% endfor %}"),
              ElementsAre(" user</s> <|im_end|>", "b<|im_end|>"));
  EXPECT_THAT(targets("{% for m in messages %}{{ m.role }}: {{ m.content | trim }}"
                      "{{ eos_token }}\n{% endfor %}"),
              ElementsAre("user</s></s>", "b</s>"));
  EXPECT_THAT(
      targets("{% macro show(text) %}[{{ text | upper | replace('B', 'cc') }}]{% endmacro %}"
              "{% for m in messages %}{{ m.role }}{{ show(m['content']) }}\n{% endfor %}"),
      ElementsAre(" USER</S> ]"));  // of "b" nothing was copied
  EXPECT_THAT(targets("{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}"
                      "{{ m.content | trim }}{{ eos_token }}{% endgeneration %}{% else %}"
                      "{{ m.content }}{% endif %}\n{% endfor %}"),
              ElementsAre("user</s></s>", "b</s>"));
  // No loop stands at the message: its content alone.
  EXPECT_THAT(targets("{{ messages[1].content }}|{{ messages[3].content }}|"),
              ElementsAre(" user</s> ", "b"));
}

TEST(ChatTemplateSpans, PartsOfAContentStayApart) {
  const ChatTemplate chat(
      "{% for m in messages %}{% for p in m.content %}{% if p.type == 'image' %}<image>{% else %}"
      "{{ p.text }}{% endif %}{% endfor %};{% endfor %}");
  const auto rendered = chat.render_chat(
      {{.role = "user", .parts = Json::parse(R"([{"type": "text", "text": "a"}, {"type": "image"},
                                 {"type": "text", "text": "bc"}])")}});
  EXPECT_EQ(rendered.text, "a<image>bc;");
  EXPECT_THAT(rendered.messages.at(0).content,
              testing::ElementsAre(TextSpan{0, 1}, TextSpan{8, 10}));
  EXPECT_EQ(rendered.messages[0].turn, (TextSpan{0, 11}));
  EXPECT_TRUE(rendered.assistant().empty());
}

TEST(LoadChatTemplate, FindsItInAFolder) {
  const weft::test::TempFolder folder;
  const auto write = [&](const char* name, const std::string& text) {
    std::ofstream(folder / name) << text;
  };
  const auto error = [&](const char* name, const char* part) {
    EXPECT_THAT([&] { load_chat_template(folder.path(), name); },
                testing::ThrowsMessage<weft::Error>(testing::HasSubstr(part)));
  };
  error("default", "no chat template: neither chat_template.jinja");
  write("tokenizer_config.json",
        R"({"chat_template": [{"name": "default", "template": "{{ bos_token }}d"},
                              {"name": "tool_use", "template": "{{ eos_token }}t"}],
            "bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false},
            "unk_token": null})");
  EXPECT_EQ(load_chat_template(folder.path()).render_chat({}).text, "<s>d");
  EXPECT_EQ(load_chat_template(folder.path(), "tool_use").render_chat({}).text, "</s>t");
  EXPECT_EQ(load_chat_template(folder.path()).render_chat({}, {.bos_token = "B"}).text, "Bd");
  error("rag", "no chat template 'rag', only: default, tool_use");
  write("chat_template.json", R"({"chat_template": "{{ bos_token }}json"})");
  EXPECT_EQ(load_chat_template(folder.path()).render_chat({}).text, "<s>json");
  write("chat_template.jinja", "{{ eos_token }}{{ tools is none }}{{ unk_token is defined }}");
  EXPECT_EQ(load_chat_template(folder.path()).render_chat({}).text, "</s>TrueFalse");
}

}  // namespace chat_template_test
