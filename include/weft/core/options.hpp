#pragma once

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <weft/core/error.hpp>
#include <weft/core/json.hpp>

/// Options structs: plain aggregates that carry one
///
///     template <class Self, class V> static void visit(Self& o, V&& v) {
///       v("hidden_size", o.hidden_size, weft::required);
///       v("num_heads", o.num_heads);
///       v("lr", o.lr, "peak learning rate");        // the third word is the help text of programs
///     }
///
/// from which JSON, --help, run configurations and checkpoint configurations all come.
/// Enums go by name: specialise weft::enum_names<E>.
namespace weft {

struct Required {};
inline constexpr Required required{};  ///< the member has no default: a missing key is an error

/// Names of an enum's values, in the order of their numbers 0, 1, 2 ...; specialise as
/// `template <> inline constexpr std::string_view weft::enum_names<Activation>[] = {"gelu",
/// "relu"};`
template <class E>
inline constexpr std::string_view enum_names[] = {""};

namespace detail {

struct AnyVisitor {
  template <class... Args>
  void operator()(std::string_view, Args&&...) const {}
};
template <class T>
struct is_optional : std::false_type {};
template <class T>
struct is_optional<std::optional<T>> : std::true_type {};
template <class T>
struct is_vector : std::false_type {};
template <class T>
struct is_vector<std::vector<T>> : std::true_type {};

WEFT_API std::string unknown_key(std::string_view where, std::string_view key,
                                 const std::vector<std::string>& known);
WEFT_API std::string unknown_name(std::string_view where, std::string_view name,
                                  const std::vector<std::string>& known);

}  // namespace detail

template <class T>
concept OptionsStruct = requires(T& o) {
  T::visit(o, detail::AnyVisitor{});
};

template <class T>
Json to_json(const T& value) {
  if constexpr (OptionsStruct<const T> || OptionsStruct<T>) {
    Json out = Json::object();
    T::visit(value, [&](std::string_view key, const auto& member, auto&&...) {
      out.set(key, to_json(member));
    });
    return out;
  } else if constexpr (detail::is_optional<T>::value) {
    return value ? to_json(*value) : Json();
  } else if constexpr (detail::is_vector<T>::value) {
    Json out = Json::array();
    for (const auto& element : value) out.push_back(to_json(element));
    return out;
  } else if constexpr (std::is_enum_v<T>) {
    return Json(enum_names<T>[static_cast<size_t>(value)]);
  } else if constexpr (std::same_as<T, std::filesystem::path>) {
    return Json(value.string());
  } else if constexpr (std::same_as<T, bool> || std::same_as<T, Json>) {
    return Json(value);
  } else if constexpr (std::integral<T>) {
    return Json(static_cast<int64_t>(value));
  } else if constexpr (std::floating_point<T>) {
    return Json(static_cast<double>(value));
  } else {
    return Json(value);
  }
}

/// Reads `json` over `value`. Unknown keys and missing required ones throw Error; `where` names the
/// place.
template <class T>
void from_json(const Json& json, T& value, const std::string& where = "options") {
  if constexpr (OptionsStruct<T>) {
    if (!json.is_object()) throw Error(where + ": expected an object, found " + json.type_name());
    std::vector<std::string> known;
    T::visit(value, [&](std::string_view key, auto& member, auto&&... extra) {
      known.emplace_back(key);
      constexpr bool needed = (std::same_as<std::remove_cvref_t<decltype(extra)>, Required> || ...);
      if (json.contains(key)) {
        from_json(json.at(key), member, where + "." + std::string(key));
      } else if (needed) {
        throw Error(where + ": the required key '" + std::string(key) + "' is missing");
      }
    });
    for (const auto& key : json.keys()) {
      bool found = false;
      for (const auto& name : known) found |= name == key;
      if (!found) throw Error(detail::unknown_key(where, key, known));
    }
  } else if constexpr (detail::is_optional<T>::value) {
    if (json.is_null()) {
      value.reset();
    } else {
      typename T::value_type element{};
      from_json(json, element, where);
      value = std::move(element);
    }
  } else if constexpr (detail::is_vector<T>::value) {
    if (!json.is_array()) throw Error(where + ": expected an array, found " + json.type_name());
    value.clear();
    for (size_t i = 0; i < json.size(); ++i) {
      typename T::value_type element{};
      from_json(json.at(i), element, where + "[" + std::to_string(i) + "]");
      value.push_back(std::move(element));
    }
  } else {
    try {
      if constexpr (std::is_enum_v<T>) {
        const auto name = json.as_string();
        std::vector<std::string> known;
        for (const auto& candidate : enum_names<T>) known.emplace_back(candidate);
        for (size_t i = 0; i < known.size(); ++i) {
          if (known[i] == name) {
            value = static_cast<T>(i);
            return;
          }
        }
        throw Error(detail::unknown_name("value", name, known));
      } else if constexpr (std::same_as<T, Json>) {
        value = json;
      } else if constexpr (std::same_as<T, bool>) {
        value = json.as_bool();
      } else if constexpr (std::integral<T>) {
        value = static_cast<T>(json.as_int());
      } else if constexpr (std::floating_point<T>) {
        value = static_cast<T>(json.as_double());
      } else {
        value = json.as_string();
      }
    } catch (const Error& error) {
      throw Error(where + ": " + error.what());
    }
  }
}

template <class T>
T from_json(const Json& json, const std::string& where = "options") {
  T value{};
  from_json(json, value, where);
  return value;
}

}  // namespace weft
