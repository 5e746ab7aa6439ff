#include <algorithm>
#include <iterator>
#include <vector>

#include <weft/core/registry.hpp>
#include <weft/io/file.hpp>
#include <weft/tokenizers/conversation.hpp>

#include "core/fail.hpp"
#include "tokenizers/chat_documents.hpp"

namespace weft::tokenizers {
namespace {

constexpr const char* kPlain = R"({{- bos_token | default('') }}
{%- for message in messages %}
{%- if message.role == 'assistant' %}
{%- generation %}{{ message.content + '\n' }}{% endgeneration %}
{%- else %}
{{- '<image>' * message.content.count('<image>') }}
{%- endif %}
{%- endfor %})";

constexpr const char* kV1 = R"({{- bos_token | default('') }}
{%- if messages and messages[0].role == 'system' %}
{{- messages[0].content + ' ' }}
{%- else %}
{{- "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the user's questions. " }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'user' %}
{{- 'USER: ' + message.content + ' ' }}
{%- elif message.role == 'assistant' %}
{{- 'ASSISTANT:' }}
{%- generation %}{{ ' ' + message.content + (eos_token or '</s>') }}{% endgeneration %}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %})";

constexpr const char* kLlama2 = R"(
{%- set system = messages[0].content if messages and messages[0].role == 'system' else 'You are a helpful language and vision assistant. You are able to understand the visual content that the user provides, and assist the user with a variety of tasks using natural language.' %}
{%- set ns = namespace(first=true) %}
{%- for message in messages %}
{%- if message.role == 'user' %}
{{- (bos_token or '<s>') + '[INST] ' }}
{%- if ns.first %}{{ '<<SYS>>\n' + system + '\n<</SYS>>\n\n' }}{% endif %}
{%- set ns.first = false %}
{{- message.content + ' [/INST]' }}
{%- elif message.role == 'assistant' %}
{%- generation %}{{ ' ' + message.content + ' ' + (eos_token or '</s>') }}{% endgeneration %}
{%- endif %}
{%- endfor %})";

constexpr const char* kChatml = R"({%- for message in messages %}
{{- '<|im_start|>' + message.role + '\n' }}
{%- if message.role == 'assistant' %}
{%- generation %}{{ message.content + '<|im_end|>' }}{% endgeneration %}
{%- else %}
{{- message.content + '<|im_end|>' }}
{%- endif %}
{{- '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %})";

constexpr const char* kPaligemma = R"({%- set ns = namespace(images=0) %}
{%- for message in messages %}
{%- set ns.images = ns.images + message.content.count('<image>') %}
{%- endfor %}
{{- '<image>' * ns.images + (bos_token or '<bos>') }}
{%- for message in messages %}
{%- if message.role == 'assistant' %}
{%- generation %}{{ message.content + (eos_token or '<eos>') }}{% endgeneration %}
{%- else %}
{{- message.content.replace('<image>', '').lstrip(' 
').rstrip('
') + '
' }}
{%- endif %}
{%- endfor %})";

constexpr const char* kSources[] = {kPlain, kV1, kLlama2, kChatml, kPaligemma};

}  // namespace

size_t count_image_marks(std::string_view text, std::string_view mark) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(mark, at)) != std::string_view::npos; ++count)
    at += mark.size();
  return count;
}

std::vector<Message> with_parts(std::vector<Message> messages) {
  for (auto& message : messages) {
    if (message.parts.is_array()) continue;
    auto parts = Json::array();
    std::string_view rest = message.content;
    for (bool first = true;; first = false) {
      const auto mark = rest.find(kImageMark);
      const bool last = mark == std::string_view::npos;
      auto text = rest.substr(0, mark);
      if (!first && text.starts_with('\n')) text.remove_prefix(1);
      if (!last && text.ends_with('\n')) text.remove_suffix(1);
      if (!text.empty()) parts.push_back(Json::object({{"type", "text"}, {"text", text}}));
      if (last) break;
      parts.push_back(Json::object({{"type", "image"}}));
      rest.remove_prefix(mark + kImageMark.size());
    }
    message.parts = parts;
  }
  return messages;
}

bool reads_parts_only(const ChatTemplate& chat) {
  const auto shows = [&](const std::vector<Message>& messages) {
    try {
      return !chat.render_chat(messages).messages.front().content.empty();
    } catch (const Error&) {
      return false;
    }
  };
  const std::vector<Message> probe = {{.role = "user", .content = "a"}};
  return !shows(probe) && shows(with_parts(probe));
}

std::string without_image_marks(std::string text) {
  for (size_t at; (at = text.find(kImageMark)) != std::string::npos;)
    text.erase(at, kImageMark.size());
  return text.erase(0, std::min(text.find_first_not_of(" \n"), text.size()));
}

bool writes_images(const ChatTemplate& chat, const std::string& placeholder) {
  const auto probe = with_parts({{.role = "user", .content = std::string(kImageMark) + "a"}});
  try {
    const auto made = chat.render_chat(probe);
    const auto marks = count_image_marks(made.text),
               others = placeholder.empty() ? 0 : count_image_marks(made.text, placeholder);
    return !made.messages.front().content.empty() && (marks == 1 || others == 1);
  } catch (const Error&) {
    return false;
  }
}

ChatTemplate conversation_template(const std::string& style, const std::filesystem::path& folder) {
  if (style == "model") return load_chat_template(folder);
  const auto with_tokens = [&](ChatTemplate made) {
    made.set_special_tokens(special_tokens_of(folder));
    return made;
  };
  for (size_t i = 0; i < std::size(kConversationStyles); ++i)
    if (style == kConversationStyles[i])
      return with_tokens(ChatTemplate(kSources[i], "conversation template " + style));
  if (std::filesystem::is_regular_file(style))
    return with_tokens(ChatTemplate(io::read_file(style), style));
  std::vector<std::string> names(std::begin(kConversationStyles), std::end(kConversationStyles));
  names.insert(names.begin(), "model");
  throw Error(detail::unknown_name("conversation template", style, names) + ", or a Jinja file",
              ErrorKind::usage);
}

}  // namespace weft::tokenizers
