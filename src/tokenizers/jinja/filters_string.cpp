#include <algorithm>

#include "tokenizers/jinja/filters.hpp"
#include "tokenizers/python_unicode.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers::jinja {
namespace {

template <Case how>
Value change(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "filter", arguments, {});
  const auto text = str(runtime, value);
  return as_safe(change_case(runtime, *text, how), text->safe && how != Case::jinja_title);
}

Value trim(Runtime& runtime, const Value& value, CallArguments& arguments) {
  const auto bound = bind(runtime, "trim", arguments, {"*chars"});
  std::optional<std::string> chars;
  if (bound[0] && !bound[0]->is<None>()) chars = need_string(runtime, bound[0])->bytes;
  const auto text = str(runtime, value);
  return as_safe(strip(runtime, *text, chars, true, true), text->safe);
}

Value replace_filter(Runtime& runtime, const Value& value, CallArguments& arguments) {
  const auto bound = bind(runtime, "replace", arguments, {"old", "new", "*count"});
  return replace(runtime, *str(runtime, value), str(runtime, *bound[0])->bytes,
                 *str(runtime, *bound[1]), need_integer(runtime, bound[2], -1));
}

Value string(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "string", arguments, {});
  return str(runtime, value);
}

Value escape(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "escape", arguments, {});
  return escape_html(runtime, value);
}

Value force_escape(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "forceescape", arguments, {});
  return escape_html(runtime, as_safe(str(runtime, value), false));
}

Value safe(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "safe", arguments, {});
  return as_safe(str(runtime, value));
}

Value indent(Runtime& runtime, const Value& value, CallArguments& arguments) {
  const auto bound = bind(runtime, "indent", arguments, {"*width", "first", "blank"});
  const auto* text = value.text();
  if (text == nullptr) runtime.fail("indent needs a string, found {}", type_name(value));
  std::string margin(4, ' ');
  if (bound[0]) {
    const auto* given = bound[0]->text();
    const int64_t width = given != nullptr ? 0 : need_integer(runtime, bound[0], 4);
    if (bound[0]->is<None>()) runtime.fail("indent needs a width, found None");
    runtime.check_string(static_cast<size_t>(std::max<int64_t>(width, 0)));
    margin =
        given ? given->bytes : std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  }
  const bool first = bound[1] && truth(*bound[1]), blank = bound[2] && truth(*bound[2]);
  TextBuilder whole;
  whole.append(*text);
  whole.append("\n");  // as jinja2 does, so that a line break at the end counts
  const auto lines = split_lines(whole.text());
  runtime.check_string(text->bytes.size() + lines.size() * (margin.size() + 1));
  TextBuilder out;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out.append("\n");
    if (i == 0 ? first : blank || !lines[i].text()->bytes.empty()) out.append(margin);
    out.append(*lines[i].text());
  }
  return as_safe(out.take(), text->safe);
}

Value center(Runtime& runtime, const Value& value, CallArguments& arguments) {
  const auto bound = bind(runtime, "center", arguments, {"*width"});
  const auto text = str(runtime, value);
  return as_safe(pad(runtime, *text, need_integer(runtime, bound[0], 80), " ", 1), text->safe);
}

Value truncate(Runtime& runtime, const Value& value, CallArguments& arguments) {
  const auto bound =
      bind(runtime, "truncate", arguments, {"*length", "killwords", "end", "leeway"});
  const int64_t length = need_integer(runtime, bound[0], 255);
  const auto end = bound[2] ? need_string(runtime, bound[2]) : make_string("...");
  const int64_t leeway = need_integer(runtime, bound[3], 5), tail = count_code_points(end->bytes);
  if (length < tail || leeway < 0)
    runtime.fail("truncate: expected length >= {}, got {}", tail, length);
  const auto size = jinja::length(value);
  if (size && *size - length <= leeway) return value;
  const auto text = need_string(runtime, value);
  size_t cut = 0;
  for (int64_t i = 0; i < length - tail; ++i) next_code_point(text->bytes, cut);
  if (!bound[1] || !truth(*bound[1]))
    if (const auto space = std::string_view(text->bytes).substr(0, cut).rfind(' ');
        space != std::string::npos)
      cut = space;
  TextBuilder out;
  out.append(*text, 0, cut);
  out.append(text->safe ? *escape_html(runtime, end) : *end);
  return as_safe(out.take(), text->safe);
}

Value format(Runtime& runtime, const Value& value, CallArguments& arguments) {
  if (!arguments.named.empty() && !arguments.positional.empty())
    runtime.fail("format takes positional or keyword arguments, not both");
  Dict named;
  for (auto& [name, given] : arguments.named) insert(runtime, named, string_value(name), given);
  const auto* mapping = arguments.named.empty() ? nullptr : &named;
  return format_percent(runtime, *str(runtime, value), arguments.positional, mapping);
}

Value tojson(Runtime& runtime, const Value& value, CallArguments& arguments) {
  const auto bound =
      bind(runtime, "tojson", arguments, {"*ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ascii = bound[0] && truth(*bound[0]);
  style.sort_keys = bound[3] && truth(*bound[3]);
  if (bound[1] && !bound[1]->is<None>()) {
    const int64_t width = bound[1]->text() ? 0 : need_integer(runtime, bound[1], 0);
    runtime.check_string(static_cast<size_t>(std::max<int64_t>(width, 0)));
    style.indent = bound[1]->text()
                       ? bound[1]->text()->bytes
                       : std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
    style.item_separator.assign(1, ',');
  }
  if (bound[2] && !bound[2]->is<None>()) {
    const auto parts = iterate(runtime, *bound[2]);
    if (parts.size() != 2) runtime.fail("tojson: separators must be two strings");
    style.item_separator = need_string(runtime, parts[0])->bytes;
    style.key_separator = need_string(runtime, parts[1])->bytes;
  }
  return to_json(runtime, value, style);
}

Value wordcount(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "wordcount", arguments, {});
  const auto text = str(runtime, value);
  int64_t count = 0;
  bool inside = false;
  for (size_t at = 0; at < text->bytes.size();) {
    const char32_t c = next_code_point(text->bytes, at);
    const bool word = c == '_' || is_word(c);
    count += word && !inside;
    inside = word;
  }
  return count;
}

}  // namespace

const std::map<std::string_view, FilterFunction>& string_filters() {
  static const std::map<std::string_view, FilterFunction> filters = {
      {"upper", change<Case::upper>},
      {"lower", change<Case::lower>},
      {"capitalize", change<Case::capitalize>},
      {"title", change<Case::jinja_title>},
      {"trim", trim},
      {"replace", replace_filter},
      {"string", string},
      {"escape", escape},
      {"e", escape},
      {"forceescape", force_escape},
      {"safe", safe},
      {"indent", indent},
      {"center", center},
      {"truncate", truncate},
      {"format", format},
      {"tojson", tojson},
      {"wordcount", wordcount}};
  return filters;
}

}  // namespace weft::tokenizers::jinja
