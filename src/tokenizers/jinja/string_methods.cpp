#include <algorithm>
#include <map>

#include <utf8proc.h>

#include "tokenizers/jinja/filters.hpp"
#include "tokenizers/python_unicode.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers::jinja {
namespace {

using Method = Value (*)(Runtime&, const Text&, std::string_view, CallArguments&);

Value cases(Runtime& runtime, const Text& self, std::string_view name, CallArguments& arguments) {
  bind(runtime, name, arguments, {});
  return change_case(runtime, self,
                     name == "upper"        ? Case::upper
                     : name == "lower"      ? Case::lower
                     : name == "capitalize" ? Case::capitalize
                     : name == "title"      ? Case::title
                                            : Case::swap);
}

Value strips(Runtime& runtime, const Text& self, std::string_view name, CallArguments& arguments) {
  const auto bound = bind(runtime, name, arguments, {"*chars"});
  std::optional<std::string> chars;
  if (bound[0] && !bound[0]->is<None>()) chars = need_string(runtime, bound[0])->bytes;
  return strip(runtime, self, chars, name != "rstrip", name != "lstrip");
}

Value split(Runtime& runtime, const Text& self, std::string_view name, CallArguments& arguments) {
  const auto bound = bind(runtime, name, arguments, {"*sep", "maxsplit"});
  const int64_t limit = need_integer(runtime, bound[1], -1);
  const bool right = name == "rsplit";
  if (!bound[0] || bound[0]->is<None>()) return make_list(runtime, split_words(self, limit, right));
  const auto separator = need_string(runtime, bound[0]);
  if (separator->bytes.empty()) runtime.fail("empty separator");
  return make_list(runtime, split_at(self, separator->bytes, limit, right));
}

Value partition(Runtime& runtime, const Text& self, std::string_view name,
                CallArguments& arguments) {
  const auto bound = bind(runtime, name, arguments, {"sep"});
  const auto separator = need_string(runtime, bound[0]);
  if (separator->bytes.empty()) runtime.fail("empty separator");
  const bool right = name == "rpartition";
  const auto found = right ? self.bytes.rfind(separator->bytes) : self.bytes.find(separator->bytes);
  const size_t size = self.bytes.size();
  std::vector<Value> parts;
  if (found == std::string::npos) {
    parts = {substring(self, 0, right ? 0 : size), make_string(""),
             substring(self, 0, right ? size : 0)};
  } else {
    parts = {substring(self, 0, found), Value(separator),
             substring(self, found + separator->bytes.size(), size)};
  }
  return make_sequence(runtime, SequenceKind::tuple, std::move(parts));
}

/// The bytes of self[start:end] as Python counts characters, for the methods that take them.
struct Window {
  size_t begin, end;
  int64_t first;  // characters in front
  bool valid;     // false where start lies behind the end
};
Window window(Runtime& runtime, const Text& self, const std::optional<Value>& start,
              const std::optional<Value>& end) {
  const int64_t size = count_code_points(self.bytes);
  int64_t from = need_integer(runtime, start, 0), to = need_integer(runtime, end, size);
  if (from < 0) from = std::max<int64_t>(0, from + size);
  if (to < 0) to = std::max<int64_t>(0, to + size);
  to = std::min(to, size);
  Window out{0, 0, from, from <= size && from <= to};
  if (!out.valid) return out;
  size_t at = 0;
  for (int64_t i = 0; i < to; ++i) {
    if (i == from) out.begin = at;
    next_code_point(self.bytes, at);
  }
  if (from == to) out.begin = at;
  out.end = at;
  return out;
}

Value affix(Runtime& runtime, const Text& self, std::string_view name, CallArguments& arguments) {
  const auto bound = bind(runtime, name, arguments, {"prefix", "*start", "end"});
  const auto part = window(runtime, self, bound[1], bound[2]);
  const auto text = std::string_view(self.bytes).substr(part.begin, part.end - part.begin);
  const auto matches = [&](const Value& value) {
    const auto wanted = need_string(runtime, value);
    return part.valid &&
           (name == "startswith" ? text.starts_with(wanted->bytes) : text.ends_with(wanted->bytes));
  };
  const auto* choices = bound[0]->items();
  if (choices != nullptr && choices->kind == SequenceKind::tuple)
    return std::any_of(choices->values.begin(), choices->values.end(), matches);
  return matches(*bound[0]);
}

Value find(Runtime& runtime, const Text& self, std::string_view name, CallArguments& arguments) {
  const auto bound = bind(runtime, name, arguments, {"sub", "*start", "end"});
  const auto wanted = need_string(runtime, bound[0]);
  const auto part = window(runtime, self, bound[1], bound[2]);
  const auto text = std::string_view(self.bytes).substr(part.begin, part.end - part.begin);
  if (name == "count") {
    if (!part.valid) return int64_t{0};
    if (wanted->bytes.empty()) return count_code_points(text) + 1;
    int64_t count = 0;
    for (size_t at = text.find(wanted->bytes); at != std::string_view::npos;
         at = text.find(wanted->bytes, at + wanted->bytes.size()))
      ++count;
    return count;
  }
  const auto found = !part.valid      ? std::string_view::npos
                     : name[0] == 'r' ? text.rfind(wanted->bytes)
                                      : text.find(wanted->bytes);
  if (found != std::string_view::npos) return part.first + count_code_points(text.substr(0, found));
  if (name.ends_with("index")) runtime.fail("substring not found");
  return int64_t{-1};
}

Value replace_method(Runtime& runtime, const Text& self, std::string_view name,
                     CallArguments& arguments) {
  const auto bound = bind(runtime, name, arguments, {"old", "new", "*count"});
  auto fresh = need_string(runtime, bound[1]);
  if (self.safe) fresh = escape_html(runtime, fresh);
  return replace(runtime, self, need_string(runtime, bound[0])->bytes, *fresh,
                 need_integer(runtime, bound[2], -1));
}

Value pads(Runtime& runtime, const Text& self, std::string_view name, CallArguments& arguments) {
  const auto bound = bind(runtime, name, arguments, {"width", "*fillchar"});
  const auto fill = bound[1] ? need_string(runtime, bound[1])->bytes : " ";
  if (count_code_points(fill) != 1) runtime.fail("the fill character must be one character");
  return pad(runtime, self, need_integer(runtime, bound[0], 0), fill,
             name == "ljust"   ? 0
             : name == "rjust" ? 2
                               : 1);
}

Value zfill(Runtime& runtime, const Text& self, std::string_view name, CallArguments& arguments) {
  const auto bound = bind(runtime, name, arguments, {"width"});
  const int64_t width = std::max<int64_t>(0, need_integer(runtime, bound[0], 0));
  const bool sign = self.bytes.starts_with('+') || self.bytes.starts_with('-');
  const auto digits = substring(self, sign ? 1 : 0, self.bytes.size());
  TextBuilder out;
  out.append(self, 0, sign ? 1 : 0);
  out.append(*pad(runtime, *digits, width - (sign ? 1 : 0), "0", 2));
  return out.take();
}

Value remove(Runtime& runtime, const Text& self, std::string_view name, CallArguments& arguments) {
  const auto bound = bind(runtime, name, arguments, {"prefix"});
  const auto part = need_string(runtime, bound[0]);
  const size_t size = self.bytes.size(), cut = part->bytes.size();
  if (name == "removeprefix")
    return substring(self, self.bytes.starts_with(part->bytes) ? cut : 0, size);
  return substring(self, 0, self.bytes.ends_with(part->bytes) ? size - cut : size);
}

Value lines(Runtime& runtime, const Text& self, std::string_view name, CallArguments& arguments) {
  const auto bound = bind(runtime, name, arguments, {"*keepends"});
  return make_list(runtime, split_lines(self, bound[0] && truth(*bound[0])));
}

Value join_method(Runtime& runtime, const Text& self, std::string_view name,
                  CallArguments& arguments) {
  const auto bound = bind(runtime, name, arguments, {"iterable"});
  auto values = iterate(runtime, *bound[0]);
  if (self.safe)
    for (auto& value : values) value = escape_html(runtime, value);
  return join(runtime, self, values, true);
}

bool has_class(std::string_view name, char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  const bool letter = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
  const bool number = category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
  if (name == "isspace") return is_python_space(c);
  if (name == "isascii") return c < 0x80;
  if (name == "isalpha") return letter;
  if (name == "isdecimal") return category == UTF8PROC_CATEGORY_ND;
  // Superscript digits are digits, other numbers are not.
  const bool digit = category == UTF8PROC_CATEGORY_ND || c == 0xB2 || c == 0xB3 || c == 0xB9 ||
                     (c >= 0x2070 && c <= 0x2089 && number);
  if (name == "isdigit") return digit;
  return name == "isalnum" ? letter || number : number;
}

Value classes(Runtime& runtime, const Text& self, std::string_view name, CallArguments& arguments) {
  bind(runtime, name, arguments, {});
  for (size_t at = 0; at < self.bytes.size();)
    if (!has_class(name, next_code_point(self.bytes, at))) return false;
  return name == "isascii" || !self.bytes.empty();
}

Value is_case(Runtime& runtime, const Text& self, std::string_view name, CallArguments& arguments) {
  bind(runtime, name, arguments, {});
  bool cased = false;
  for (size_t at = 0; at < self.bytes.size();) {
    const auto c = static_cast<utf8proc_int32_t>(next_code_point(self.bytes, at));
    const bool lower = utf8proc_islower(c);
    const bool upper = utf8proc_isupper(c) || utf8proc_category(c) == UTF8PROC_CATEGORY_LT;
    if (name == "islower" ? upper : lower) return false;
    cased |= lower || upper;
  }
  return cased;
}

/// str.format() with {}, {0} and {name}; other fields are an error.
Value format_method(Runtime& runtime, const Text& self, std::string_view,
                    CallArguments& arguments) {
  TextBuilder out;
  size_t next = 0;
  const auto& bytes = self.bytes;
  for (size_t at = 0; at < bytes.size();) {
    const auto brace = std::min(bytes.find_first_of("{}", at), bytes.size());
    out.append(self, at, brace);
    if (brace == bytes.size()) break;
    if (brace + 1 < bytes.size() && bytes[brace + 1] == bytes[brace]) {
      out.append(self, brace, brace + 1);
      at = brace + 2;
      continue;
    }
    const auto close = bytes[brace] == '{' ? bytes.find('}', brace) : std::string::npos;
    if (close == std::string::npos) runtime.fail("single '{}' in a format string", bytes[brace]);
    const auto field = bytes.substr(brace + 1, close - brace - 1);
    const Value* chosen = nullptr;
    if (field.find_first_not_of("0123456789") == std::string::npos && field.size() < 6) {
      const auto index = field.empty() ? next++ : static_cast<size_t>(std::stoi(field));
      if (index < arguments.positional.size()) chosen = &arguments.positional[index];
    } else {
      for (const auto& [key, value] : arguments.named)
        if (key == field) chosen = &value;
    }
    if (chosen == nullptr)
      runtime.fail("format() has no value for '{{{}}}' (only plain fields are supported)", field);
    const auto text = self.safe ? escape_html(runtime, *chosen) : str(runtime, *chosen);
    runtime.spend(text->bytes.size());
    if (static_cast<int64_t>(out.size() + text->bytes.size()) > kMaxString)
      runtime.check_string(out.size() + text->bytes.size());
    out.append(*text);
    at = close + 1;
  }
  return out.take();
}

const std::map<std::string_view, Method> kMethods = {
    {"upper", cases},         {"lower", cases},
    {"capitalize", cases},    {"title", cases},
    {"swapcase", cases},      {"strip", strips},
    {"lstrip", strips},       {"rstrip", strips},
    {"split", split},         {"rsplit", split},
    {"partition", partition}, {"rpartition", partition},
    {"startswith", affix},    {"endswith", affix},
    {"find", find},           {"rfind", find},
    {"index", find},          {"rindex", find},
    {"count", find},          {"replace", replace_method},
    {"ljust", pads},          {"rjust", pads},
    {"center", pads},         {"zfill", zfill},
    {"removeprefix", remove}, {"removesuffix", remove},
    {"splitlines", lines},    {"join", join_method},
    {"isspace", classes},     {"isascii", classes},
    {"isalpha", classes},     {"isdecimal", classes},
    {"isdigit", classes},     {"isalnum", classes},
    {"isnumeric", classes},   {"islower", is_case},
    {"isupper", is_case},     {"format", format_method}};

}  // namespace

Value call_string_method(Runtime& runtime, const String& self, std::string_view name,
                         CallArguments& arguments) {
  const auto found = kMethods.find(name);
  if (found == kMethods.end()) runtime.fail("the method '{}' of strings is not supported", name);
  runtime.spend(self->bytes.size());
  auto out = found->second(runtime, *self, name, arguments);
  if (!self->safe) return out;
  // What is made of markup is markup.
  if (const auto* text = out.as<String>()) return as_safe(*text);
  if (const auto* items = out.items()) {
    auto parts = items->values;
    for (auto& part : parts) part = as_safe(*part.as<String>());
    return make_sequence(runtime, items->kind, std::move(parts));
  }
  return out;
}

int64_t need_integer(Runtime& runtime, const std::optional<Value>& value, int64_t otherwise) {
  if (!value || value->is<None>()) return otherwise;
  const auto whole = integer(*value);
  if (!whole) runtime.fail("expected an integer, found {}", type_name(*value));
  return *whole;
}

String need_string(Runtime& runtime, const std::optional<Value>& value) {
  if (!value || value->text() == nullptr)
    runtime.fail("expected a string, found {}", value ? type_name(*value) : "nothing");
  return *value->as<String>();
}

}  // namespace weft::tokenizers::jinja
