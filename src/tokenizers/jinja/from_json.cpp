#include "tokenizers/jinja/from_json.hpp"

#include <limits>

#include "tokenizers/unicode.hpp"

namespace weft::tokenizers::jinja {
namespace {

Value tagged_string(Runtime& runtime, const std::string& bytes, const Tag& tag) {
  runtime.spend(bytes.size());
  Text text;
  append_lossy(bytes, text.bytes);
  if (!tag.empty() && !text.bytes.empty()) text.runs.push_back({0, text.bytes.size(), tag});
  return std::make_shared<const Text>(std::move(text));
}

}  // namespace

Value from_json(Runtime& runtime, const nlohmann::ordered_json& json, const Tag& tag) {
  const Deeper guard(runtime);
  switch (json.type()) {
    case nlohmann::json::value_t::boolean:
      return json.get<bool>();
    case nlohmann::json::value_t::number_integer:
      return json.get<int64_t>();
    case nlohmann::json::value_t::number_unsigned:
      if (json.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
        runtime.fail("the integer {} needs more than 64 bits", json.get<uint64_t>());
      return json.get<int64_t>();
    case nlohmann::json::value_t::number_float:
      return json.get<double>();
    case nlohmann::json::value_t::string:
      return tagged_string(runtime, json.get_ref<const std::string&>(), tag);
    case nlohmann::json::value_t::array: {
      std::vector<Value> values;
      for (const auto& item : json) values.push_back(from_json(runtime, item, tag));
      return make_list(runtime, std::move(values));
    }
    case nlohmann::json::value_t::object: {
      auto dict = std::make_shared<Dict>();
      for (const auto& [key, item] : json.items())
        insert(runtime, *dict, tagged_string(runtime, key, {}),
               from_json(runtime, item, key == "type" ? Tag{} : tag));
      return dict;
    }
    default:
      return None{};
  }
}

Value messages_from_json(Runtime& runtime, const nlohmann::ordered_json& messages) {
  if (!messages.is_array()) return from_json(runtime, messages);
  std::vector<Value> values;
  for (const auto& message : messages) {
    const auto number = static_cast<int32_t>(values.size());
    if (!message.is_object()) {
      values.push_back(from_json(runtime, message));
      continue;
    }
    auto dict = std::make_shared<Dict>();
    for (const auto& [key, item] : message.items()) {
      const Tag tag{.message = key == "content" ? number : -1};
      insert(runtime, *dict, tagged_string(runtime, key, {}), from_json(runtime, item, tag));
    }
    runtime.messages.emplace(dict.get(), number);
    values.emplace_back(std::move(dict));
  }
  return make_list(runtime, std::move(values));
}

}  // namespace weft::tokenizers::jinja
