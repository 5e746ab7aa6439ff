#include "tokenizers/components.hpp"

#include <algorithm>

#include "core/fail.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers {

void check_growth(size_t bytes) {
  if (bytes > kMaxRewrittenBytes)
    fail("a text that its rules make longer than the limit of {} bytes", kMaxRewrittenBytes);
}

void Text::append(char32_t code_point, Offset from) {
  append_utf8(code_point, bytes);
  if (tracked) source.resize(bytes.size(), from);
}

void Text::append(std::string_view characters, Offset from) {
  bytes += characters;
  if (tracked) source.resize(bytes.size(), from);
}

void Text::append(const Text& other, size_t begin, size_t end) {
  bytes.append(other.bytes, begin, end - begin);
  if (tracked)
    source.insert(source.end(), other.source.begin() + begin, other.source.begin() + end);
}

void fail_at(const Where& where, std::string_view what) {
  fail("{}: {}: {}", where.file, where.key, what);
}

void fail_unsupported(const Where& where, std::string_view what) {
  fail("{}: {}: {} is not supported", where.file, where.key, what);
}

const json& member(const json& object, const char* key, const Where& where) {
  if (!object.is_object())
    fail_at(where, fmt::format("expected an object, found {}", object.type_name()));
  const auto found = object.find(key);
  if (found == object.end()) fail_at(where, fmt::format("the key '{}' is missing", key));
  return *found;
}

const json* optional_member(const json& object, const char* key, const Where& where) {
  if (!object.is_object())
    fail_at(where, fmt::format("expected an object, found {}", object.type_name()));
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

bool flag(const json& object, const char* key, bool otherwise, const Where& where) {
  const auto* value = optional_member(object, key, where);
  if (!value) return otherwise;
  if (!value->is_boolean())
    fail_at(where.at(key), fmt::format("expected true or false, found {}", value->type_name()));
  return value->get<bool>();
}

std::string text_member(const json& object, const char* key, const std::string& otherwise,
                        const Where& where) {
  const auto* value = optional_member(object, key, where);
  if (!value) return otherwise;
  if (!value->is_string())
    fail_at(where.at(key), fmt::format("expected a string, found {}", value->type_name()));
  return value->get<std::string>();
}

int64_t int_member(const json& object, const char* key, int64_t low, int64_t high,
                   const Where& where) {
  return int_value(member(object, key, where), low, high, where.at(key));
}

int64_t int_value(const json& value, int64_t low, int64_t high, const Where& where) {
  if (!value.is_number_integer())
    fail_at(where, fmt::format("expected an integer, found {}", value.type_name()));
  const auto number = value.get<int64_t>();
  if (number < low || number > high)
    fail_at(where, fmt::format("expected {} to {}, found {}", low, high, number));
  return number;
}

std::string type_of(const json& component, const Where& where) {
  const auto& type = member(component, "type", where);
  if (!type.is_string())
    fail_at(where.at("type"), fmt::format("expected a string, found {}", type.type_name()));
  return type.get<std::string>();
}

std::vector<std::pair<std::string, int64_t>> read_vocab(const json& object, const Where& where) {
  if (!object.is_object())
    fail_at(where, fmt::format("expected an object, found {}", object.type_name()));
  if (object.size() > static_cast<size_t>(kMaxTokens))
    fail_at(where, fmt::format("{} tokens, more than the limit of {}", object.size(), kMaxTokens));
  std::vector<std::pair<std::string, int64_t>> tokens;
  tokens.reserve(object.size());
  for (const auto& [token, id] : object.items())
    tokens.emplace_back(token, int_value(id, 0, kMaxTokens - 1, where.at(token)));
  std::sort(tokens.begin(), tokens.end(),
            [](const auto& a, const auto& b) { return a.second < b.second; });
  for (size_t i = 1; i < tokens.size(); ++i) {
    if (tokens[i].second == tokens[i - 1].second)
      fail_at(where, fmt::format("'{}' and '{}' have the same id {}", tokens[i - 1].first,
                                 tokens[i].first, tokens[i].second));
  }
  return tokens;
}

const json& parts_of(const json& component, const char* key, const Where& where) {
  const auto& list = member(component, key, where);
  if (!list.is_array()) fail_at(where.at(key), "expected an array");
  return list;
}

}  // namespace weft::tokenizers
