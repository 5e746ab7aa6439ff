#pragma once

#include <algorithm>

#include "tokenizers/jinja/filters.hpp"

namespace weft::tokenizers::jinja {

/// What an attribute argument names: "a.b" and "a.0" go down, a number is an index.
class AttributePath {
 public:
  explicit AttributePath(const Value& attribute) {
    const auto* text = attribute.text();
    if (text == nullptr) {
      if (!attribute.is<None>()) parts_.push_back(attribute);
      return;
    }
    for (size_t at = 0; at <= text->bytes.size();) {
      const auto dot = std::min(text->bytes.find('.', at), text->bytes.size());
      const auto part = text->bytes.substr(at, dot - at);
      const bool digits = !part.empty() && part.size() < 10 &&
                          part.find_first_not_of("0123456789") == std::string::npos;
      parts_.push_back(digits ? Value(int64_t{std::stoi(part)}) : string_value(part));
      at = dot + 1;
    }
  }
  Value get(Runtime& runtime, Value item, const std::optional<Value>& otherwise = {}) const {
    for (const auto& part : parts_) {
      item = get_item(runtime, item, part);
      if (otherwise && !otherwise->is<None>() && is_undefined(item)) item = *otherwise;
    }
    return item;
  }

 private:
  std::vector<Value> parts_;
};

/// What strings are compared by.
inline Value folded(Runtime& runtime, const Value& value, bool fold) {
  if (!fold || value.text() == nullptr) return value;
  return change_case(runtime, *value.text(), Case::lower);
}

}  // namespace weft::tokenizers::jinja
