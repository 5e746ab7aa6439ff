#include <algorithm>
#include <ctime>

#include <weft/io/file.hpp>
#include <weft/tokenizers/chat_template.hpp>

#include "core/fail.hpp"
#include "core/json_impl.hpp"
#include "tokenizers/chat_documents.hpp"
#include "tokenizers/jinja/evaluator.hpp"
#include "tokenizers/jinja/from_json.hpp"

namespace weft::tokenizers {
namespace {

using nlohmann::ordered_json;

void add_span(std::vector<TextSpan>& spans, const jinja::Run& run) {
  if (!spans.empty() && spans.back().end == run.begin)
    spans.back().end = run.end;
  else
    spans.push_back({run.begin, run.end});
}

/// The spans that the runs of a rendered text stand for.
RenderedChat collect(const jinja::Text& text, const ordered_json& context) {
  RenderedChat out;
  out.text = text.bytes;
  if (const auto messages = context.find("messages"); messages != context.end())
    if (messages->is_array())
      for (const auto& message : *messages) {
        auto& spans = out.messages.emplace_back();
        spans.message = out.messages.size() - 1;
        if (message.is_object())
          if (const auto role = message.find("role"); role != message.end() && role->is_string())
            spans.role = role->get<std::string>();
      }
  int32_t block = -1;
  for (const auto& run : text.runs) {
    if (run.tag.message >= 0)
      add_span(out.messages[static_cast<size_t>(run.tag.message)].content, run);
    if (run.tag.turn >= 0) {
      auto& turn = out.messages[static_cast<size_t>(run.tag.turn)].turn;
      if (turn.begin == turn.end) turn.begin = run.begin;
      turn.end = run.end;
    }
    if (run.tag.generation < 0) continue;
    // Two blocks side by side stay two.
    if (run.tag.generation == block)
      add_span(out.generation, run);
    else
      out.generation.push_back({run.begin, run.end});
    block = run.tag.generation;
  }
  return out;
}

ordered_json to_json(const Message& message) {
  ordered_json out = {{"role", message.role}, {"content", message.content}};
  if (message.parts.is_array()) out["content"] = message.parts.impl().value;
  const auto& members = message.members.impl().value;
  if (!members.is_object() && !members.is_null())
    fail("render_chat: the members of a message must be an object, found {}", members.type_name());
  for (const auto& [key, value] : members.items()) out[key] = value;
  // transformers gives the reasoning of a message under all of its names.
  for (const auto* name : {"reasoning_content", "thinking", "reasoning"}) {
    const auto found = out.find(name);
    if (found == out.end() || found->is_null()) continue;
    const ordered_json reasoning = *found;
    if (!out.contains("thinking")) out["thinking"] = reasoning;
    out["reasoning_content"] = reasoning;
    break;
  }
  return out;
}

}  // namespace

struct ChatTemplate::Impl {
  std::string source;
  std::string name;
  std::shared_ptr<const jinja::Body> body;
  Json special_tokens = Json::object();
  std::optional<int64_t> time = {};

  RenderedChat render(const ordered_json& context) const {
    if (!context.is_object())
      fail("chat template '{}': the context must be an object, found {}", name,
           context.type_name());
    jinja::Runtime runtime(name);
    runtime.now = time ? *time : static_cast<int64_t>(std::time(nullptr));
    const auto globals = std::make_shared<jinja::Scope>(), scope = std::make_shared<jinja::Scope>();
    jinja::add_globals(*globals);
    for (const auto& [key, value] : context.items())
      globals->variables[key] = key == "messages" ? jinja::messages_from_json(runtime, value)
                                                  : jinja::from_json(runtime, value);
    scope->parent = globals;
    jinja::TextBuilder out;
    jinja::Evaluator(runtime).run(*body, scope, out);
    return collect(out.text(), context);
  }
};

std::vector<TextSpan> RenderedChat::assistant() const {
  if (!generation.empty()) return generation;
  std::vector<TextSpan> out;
  for (const auto& message : messages) {
    if (message.role != "assistant" || message.content.empty()) continue;
    const TextSpan last = message.content.back();
    size_t end = std::max(last.end, message.turn.end);
    while (end > last.end &&
           std::string_view(" \t\r\n").find(text[end - 1]) != std::string_view::npos)
      --end;
    out.push_back({message.content.front().begin, end});
  }
  std::sort(out.begin(), out.end(), [](auto a, auto b) { return a.begin < b.begin; });
  return out;
}

ChatTemplate::ChatTemplate(const std::string& source, const std::string& name)
    : impl_(std::make_shared<Impl>(
          Impl{.source = source,
               .name = name,
               .body = std::make_shared<const jinja::Body>(jinja::parse(source, name))})) {}

std::string ChatTemplate::render(const Json& context) const {
  return impl_->render(context.impl().value).text;
}

RenderedChat ChatTemplate::render_spans(const Json& context) const {
  return impl_->render(context.impl().value);
}

RenderedChat ChatTemplate::render_chat(const std::vector<Message>& messages,
                                       const ChatOptions& options) const {
  auto context = impl_->special_tokens.impl().value;
  if (options.bos_token) context["bos_token"] = *options.bos_token;
  if (options.eos_token) context["eos_token"] = *options.eos_token;
  for (const auto& [key, value] : options.extra.impl().value.items()) context[key] = value;
  auto list = ordered_json::array();
  for (const auto& message : messages) list.push_back(to_json(message));
  context["messages"] = std::move(list);
  context["tools"] = options.tools.impl().value;
  context["documents"] = options.documents.impl().value;
  context["add_generation_prompt"] = options.add_generation_prompt;
  return impl_->render(context);
}

const std::string& ChatTemplate::source() const { return impl_->source; }
const Json& ChatTemplate::special_tokens() const { return impl_->special_tokens; }

void ChatTemplate::set_special_tokens(const Json& tokens) {
  if (!tokens.is_object()) fail("special tokens must be an object, found {}", tokens.type_name());
  auto changed = std::make_shared<Impl>(*impl_);
  changed->special_tokens = tokens;
  impl_ = std::move(changed);
}

void ChatTemplate::set_time(std::optional<int64_t> seconds) {
  auto changed = std::make_shared<Impl>(*impl_);
  changed->time = seconds;
  impl_ = std::move(changed);
}

namespace {

/// The members of a tokenizer_config.json that name tokens, each a string or an object that holds
/// it.
Json special_tokens(const ordered_json& config) {
  auto out = ordered_json::object();
  for (const auto& [key, value] : config.items()) {
    if (!key.ends_with("_token")) continue;
    if (value.is_string()) out[key] = value;
    if (value.is_object())
      if (const auto content = value.find("content");
          content != value.end() && content->is_string())
        out[key] = *content;
  }
  return make_json(std::move(out));
}

/// A file's object; an empty one where there is no such file.
ordered_json read_object(const std::filesystem::path& path) {
  auto json = std::filesystem::exists(path) ? parse_json(io::read_file(path), path.string())
                                            : ordered_json::object();
  if (!json.is_object()) fail("{}: expected an object, found {}", path.string(), json.type_name());
  return json;
}

/// The source in a "chat_template" member.
std::string choose(const ordered_json& member, const std::string& name, const std::string& file) {
  if (member.is_string()) {
    if (name == "default") return member.get<std::string>();
    fail("{}: one chat template without a name, '{}' was asked for", file, name);
  }
  if (!member.is_array())
    fail("{}: chat_template must be a string or a list, found {}", file, member.type_name());
  std::string names;
  for (const auto& entry : member) {
    const auto text = [&](const char* key) -> std::string {
      const auto found = entry.is_object() ? entry.find(key) : entry.end();
      if (!entry.is_object() || found == entry.end() || !found->is_string())
        fail("{}: an entry of chat_template has no string '{}'", file, key);
      return found->get<std::string>();
    };
    if (text("name") == name) return text("template");
    names += (names.empty() ? "" : ", ") + text("name");
  }
  fail("{}: no chat template '{}', only: {}", file, name, names);
}

}  // namespace

Json special_tokens_of(const std::filesystem::path& folder) {
  return special_tokens(read_object(folder / "tokenizer_config.json"));
}

std::optional<ChatTemplate> find_chat_template(const std::filesystem::path& folder,
                                               const std::string& name) {
  const auto made = [&](const std::string& source, const std::filesystem::path& file) {
    ChatTemplate out(source, file.string());
    out.set_special_tokens(special_tokens_of(folder));
    return out;
  };
  const auto plain = name == "default" ? folder / "chat_template.jinja"
                                       : folder / "additional_chat_templates" / (name + ".jinja");
  if (std::filesystem::exists(plain)) return made(io::read_file(plain), plain);
  for (const auto* file : {"chat_template.json", "tokenizer_config.json"}) {
    const auto json = read_object(folder / file);
    const auto found = json.find("chat_template");
    if (found != json.end() && !found->is_null())
      return made(choose(*found, name, (folder / file).string()), folder / file);
  }
  return std::nullopt;
}

ChatTemplate load_chat_template(const std::filesystem::path& folder, const std::string& name) {
  if (auto found = find_chat_template(folder, name)) return *found;
  fail(
      "{}: no chat template: neither chat_template.jinja nor a member chat_template of "
      "chat_template.json or tokenizer_config.json",
      folder.string());
}

}  // namespace weft::tokenizers
