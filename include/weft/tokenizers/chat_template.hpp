#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/core/json.hpp>

namespace weft::tokenizers {

/// One message of a conversation.
struct Message {
  std::string role;
  std::string content = {};
  Json parts = {};                ///< an array stands for `content`: [{"type": "image"}, ...]
  Json members = Json::object();  ///< more members: tool_calls, name, reasoning_content ...
};

/// Half-open span of bytes of a rendered text.
struct TextSpan {
  size_t begin = 0;
  size_t end = 0;
  bool operator==(const TextSpan&) const = default;
};

/// Where a message lies in the rendered text.
struct MessageSpans {
  size_t message = 0;  ///< index in "messages"
  std::string role = {};
  std::vector<TextSpan> content = {};  ///< the bytes copied from its content, ascending
  TextSpan turn = {};  ///< all that the template wrote while its loop stood at the message
};

struct WEFT_API RenderedChat {
  std::string text = {};
  std::vector<TextSpan> generation = {};    ///< of {% generation %} blocks, ascending
  std::vector<MessageSpans> messages = {};  ///< one a message

  /// What a model learns to write, for a loss mask. The generation blocks where the template has
  /// any; otherwise, for each message of the role "assistant" whose content is in the text, from
  /// its first byte to the end of its turn without white space at that end: so the end-of-turn
  /// marker is inside, and the line break behind it is not. Where no loop stood at the message, to
  /// the end of its content.
  std::vector<TextSpan> assistant() const;
};

/// What render_chat() gives a template besides the messages.
struct ChatOptions {
  bool add_generation_prompt = false;
  std::optional<std::string> bos_token = {};  ///< where absent, that of the template's folder
  std::optional<std::string> eos_token = {};
  Json tools = {};              ///< an array of JSON schemas, or null
  Json documents = {};          ///< an array, or null
  Json extra = Json::object();  ///< more variables, such as enable_thinking
};

/// A chat template in the part of Jinja that published templates use, with the results of jinja2
/// 3.1 in the settings of transformers' apply_chat_template (trim_blocks, lstrip_blocks, loop
/// controls, its own tojson, raise_exception, strftime_now, {% generation %}).
///
/// Left out: recursive loops, inheritance and includes, and the filters that make HTML, URLs or
/// random choices; using them is an error. Integers have 64 bits.
///
/// A template is not trusted: loop iterations, memory, lengths and nesting are limited.
/// Errors name the template and the line. Several threads may render at once.
class WEFT_API ChatTemplate {
 public:
  /// Parses `source`; `name` stands in messages. Error where it is not a template.
  explicit ChatTemplate(const std::string& source, const std::string& name = "chat template");

  /// Renders with the members of `context`, an object, as variables. Error where the template
  /// fails or calls raise_exception, whose message is part of the error's.
  std::string render(const Json& context) const;

  /// The same, with the places of the messages in context["messages"]. They are known from
  /// copying, not found by searching: strings carry their origin through concatenation, slicing,
  /// trimming, replacing, splitting, case changes, escapes and macros.
  RenderedChat render_spans(const Json& context) const;

  /// Renders messages as apply_chat_template does: `tools` and `documents` are there even when
  /// null, and special_tokens() are variables.
  RenderedChat render_chat(const std::vector<Message>& messages,
                           const ChatOptions& options = {}) const;

  const std::string& source() const;
  /// Variables of every render_chat(): {"bos_token": ..., "eos_token": ..., ...}.
  const Json& special_tokens() const;
  void set_special_tokens(const Json& tokens);
  /// The time of strftime_now, in seconds since 1970; where it is absent, the present.
  void set_time(std::optional<int64_t> seconds);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// Reads the chat template of a model's folder: chat_template.jinja, chat_template.json (of
/// processors), or the member "chat_template" of tokenizer_config.json, a string or a list of named
/// ones of which `name` is taken. The special tokens are those of tokenizer_config.json.
/// Error where there is none, or none of the name.
WEFT_API ChatTemplate load_chat_template(const std::filesystem::path& folder,
                                         const std::string& name = "default");
/// The same; nothing where the folder holds none at all.
WEFT_API std::optional<ChatTemplate> find_chat_template(const std::filesystem::path& folder,
                                                        const std::string& name = "default");

}  // namespace weft::tokenizers
