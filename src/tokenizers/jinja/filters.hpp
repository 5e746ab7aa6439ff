#pragma once

#include "tokenizers/jinja/runtime.hpp"

/// Parts that filters, methods and operators share.
namespace weft::tokenizers::jinja {

String escape_html(Runtime& runtime, const Value& value);  ///< markup

/// str % values; `named` serves %(name)s. With `all`, values left over are an error.
String format_percent(Runtime& runtime, const Text& format, const std::vector<Value>& values,
                      const Dict* named, bool all = true);

enum class Case { upper, lower, capitalize, title, swap, jinja_title };
String change_case(Runtime& runtime, const Text& text, Case how);

/// Without the characters of `chars` at its ends; white space where it is nothing.
String strip(Runtime& runtime, const Text& text, const std::optional<std::string>& chars, bool left,
             bool right);
String replace(Runtime& runtime, const Text& text, std::string_view old, const Text& fresh,
               int64_t count);
/// At white space, which goes, or at `separator`; at most `limit` times where that is not negative,
/// with `right` from the end.
std::vector<Value> split_words(const Text& self, int64_t limit, bool right);
std::vector<Value> split_at(const Text& self, std::string_view separator, int64_t limit,
                            bool right);
std::vector<Value> split_lines(const Text& text, bool keep_ends = false);
String pad(Runtime& runtime, const Text& text, int64_t width, std::string_view fill, int left_of_2);
String join(Runtime& runtime, const Text& separator, const std::vector<Value>& values,
            bool only_strings);

int64_t need_integer(Runtime& runtime, const std::optional<Value>& value, int64_t otherwise);
/// A string argument, or Error; with `fallback` where it is absent or None.
String need_string(Runtime& runtime, const std::optional<Value>& value);

}  // namespace weft::tokenizers::jinja
