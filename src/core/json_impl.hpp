#pragma once

#include <nlohmann/json.hpp>

#include <weft/core/json.hpp>

namespace weft {

/// What Json holds. Parsers inside the library work on it directly, without copies.
struct Json::Impl {
  nlohmann::ordered_json value;
};

inline Json make_json(nlohmann::ordered_json value) {
  return Json(std::make_unique<Json::Impl>(Json::Impl{std::move(value)}));
}

/// Parses with weft's depth limit, in linear time. Error names `origin` and the byte, also of a key
/// that stands twice in one object.
nlohmann::ordered_json parse_json(std::string_view text, std::string_view origin);
/// The same with members sorted by name: for objects of many members that are looked up by name,
/// since the ordered object looks through all of its members.
nlohmann::json parse_sorted_json(std::string_view text, std::string_view origin);

}  // namespace weft
