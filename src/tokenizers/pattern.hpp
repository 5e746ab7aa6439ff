#pragma once

#include "tokenizers/components.hpp"

namespace weft::tokenizers {

/// {"String": ..} or {"Regex": ..} of a Replace or Split.
struct PatternText {
  std::string text = {};
  bool regex = false;
};

inline PatternText read_pattern(const json& component, const Where& where) {
  const auto& pattern = member(component, "pattern", where);
  const auto here = where.at("pattern");
  for (const bool regex : {false, true}) {
    const auto* key = regex ? "Regex" : "String";
    if (const auto* value = optional_member(pattern, key, here)) {
      if (!value->is_string()) fail_at(here.at(key), "expected a string");
      return {value->get<std::string>(), regex};
    }
  }
  fail_at(here, "expected {\"String\": ..} or {\"Regex\": ..}");
}

}  // namespace weft::tokenizers
