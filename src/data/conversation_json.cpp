#include <algorithm>

#include <weft/data/conversations.hpp>
#include <weft/data/sample.hpp>

#include "core/fail.hpp"
#include "data/image_marks.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::data {
namespace {

using tokenizers::Message;

struct Place {
  const std::string& where;
  [[noreturn]] void bad(const std::string& what) const {
    throw BadSample(BadCause::bad_conversation, fmt::format("{}: {}", where, what));
  }
};

std::string role_of(const std::string& name, const Place& place) {
  if (name == "human" || name == "user") return "user";
  if (name == "gpt" || name == "assistant") return "assistant";
  if (name == "system") return "system";
  place.bad(fmt::format("expected a turn of human, gpt or system, found '{}'", name));
}

/// A text, or the text of a message.
std::string text_of(const Json& value, const char* key, const Place& place) {
  if (value.is_string()) return value.as_string();
  if (value.is_object())
    for (const char* name : {"value", "content"})
      if (value.get(name).is_string()) return value.at(name).as_string();
  place.bad(fmt::format("expected '{}' to be a text, found {}", key, value.type_name()));
}

Message message_of(const Json& turn, const Place& place) {
  if (!turn.is_object())
    place.bad(fmt::format("expected turns to be objects, found {}", turn.type_name()));
  const bool llava = turn.contains("from");
  const auto role = turn.get(llava ? "from" : "role");
  if (!role.is_string()) place.bad("a turn has no 'from' or 'role'");
  return {.role = role_of(role.as_string(), place),
          .content = text_of(turn.get(llava ? "value" : "content"), "value", place)};
}

void check_turns(const Conversation& conversation, const Place& place) {
  const auto& messages = conversation.messages;
  const size_t first = !messages.empty() && messages.front().role == "system" ? 1 : 0;
  if (messages.size() < first + 2)
    place.bad(fmt::format("expected a question and an answer, found {} turn(s)",
                          messages.size() - std::min(first, messages.size())));
  for (size_t i = first; i < messages.size(); ++i) {
    const bool question = (i - first) % 2 == 0;
    const auto* expected = question ? "user" : "assistant";
    if (messages[i].role != expected)
      place.bad(fmt::format("turn {}: expected one of {}, found one of {}", i + 1, expected,
                            messages[i].role));
    if (!question && messages[i].content.find_first_not_of(" \t\r\n") == std::string::npos)
      place.bad(fmt::format("turn {}: the answer is empty", i + 1));
    const auto valid = tokenizers::valid_utf8_prefix(messages[i].content);
    if (valid < messages[i].content.size())
      place.bad(fmt::format("turn {} is not UTF-8 at byte {}", i + 1, valid));
  }
  if (messages.back().role != "assistant")
    place.bad(fmt::format("expected an answer at the end, found one of {}", messages.back().role));
}

void take_images(const Json& image, std::vector<std::string>& paths, const Place& place) {
  if (image.is_null()) return;
  if (image.is_string()) {
    paths.push_back(image.as_string());
    return;
  }
  if (!image.is_array())
    place.bad(fmt::format("expected 'image' to be a path or an array of them, found {}",
                          image.type_name()));
  for (size_t i = 0; i < image.size(); ++i) {
    const auto path = image.at(i);
    if (!path.is_string())
      place.bad(fmt::format("expected paths of images, found {}", path.type_name()));
    paths.push_back(path.as_string());
  }
}

}  // namespace

Conversation to_conversation(const Json& item, std::vector<std::string>& paths,
                             const std::string& where) {
  const Place place{where};
  if (!item.is_object()) place.bad(fmt::format("expected an object, found {}", item.type_name()));
  Conversation out;
  const auto id = item.get("id");
  out.id = id.is_string() ? id.as_string() : id.is_null() ? "" : id.dump();
  const bool llava = item.contains("conversations");
  const auto turns = item.get(llava ? "conversations" : "messages");
  if (!turns.is_array())
    place.bad(fmt::format("expected an array 'conversations' or 'messages', found {}",
                          turns.is_null() ? "none" : turns.type_name()));
  for (size_t i = 0; i < turns.size(); ++i) out.messages.push_back(message_of(turns.at(i), place));
  if (item.contains("chosen") || item.contains("rejected")) {
    if (out.messages.empty() || out.messages.back().role != "user")
      place.bad("expected a question in front of 'chosen' and 'rejected'");
    out.messages.push_back(
        {.role = "assistant", .content = text_of(item.get("chosen"), "chosen", place)});
    out.rejected = text_of(item.get("rejected"), "rejected", place);
    if (out.rejected.empty()) place.bad("'rejected' is empty");
  }
  if (const auto references = item.get("references"); !references.is_null()) {
    if (!references.is_array()) place.bad("expected 'references' to be an array of texts");
    for (size_t i = 0; i < references.size(); ++i)
      out.references.push_back(text_of(references.at(i), "references", place));
  }
  take_images(item.get(item.contains("images") ? "images" : "image"), paths, place);
  check_turns(out, place);
  return out;
}

std::vector<Conversation> single_turns(const Conversation& conversation) {
  const auto& messages = conversation.messages;
  const size_t first = messages.front().role == "system" ? 1 : 0;
  if (messages.size() == first + 2) return {conversation};
  check_image_marks(messages, conversation.images.size(), conversation.id);
  std::string marks;
  for (size_t i = 0; i < conversation.images.size(); ++i) marks += kImageMark;
  if (!marks.empty()) marks += '\n';
  std::vector<Conversation> out;
  for (size_t i = first; i < messages.size(); i += 2) {
    auto question = messages[i];
    auto& text = question.content;
    if (tokenizers::count_image_marks(text) != conversation.images.size())
      text = marks + tokenizers::without_image_marks(text);
    Conversation turn{.id = conversation.id, .images = conversation.images};
    if (first == 1) turn.messages.push_back(messages.front());
    turn.messages.push_back(std::move(question));
    turn.messages.push_back(messages[i + 1]);
    if (i + 2 == messages.size()) {
      turn.rejected = conversation.rejected;
      turn.references = conversation.references;
    }
    out.push_back(std::move(turn));
  }
  return out;
}

}  // namespace weft::data
