#include <charconv>
#include <cmath>

#include <utf8proc.h>

#include "tokenizers/jinja/runtime.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers::jinja {
namespace {

/// str.isprintable of one character.
bool is_printable(char32_t c) {
  if (c < 0x7F) return c >= 0x20;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

void append_escaped(char32_t c, TextBuilder& out, const Text& from, size_t at) {
  const auto code = static_cast<uint32_t>(c);
  out.append_as(from, at,
                code < 0x100     ? fmt::format("\\x{:02x}", code)
                : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                                 : fmt::format("\\U{:08x}", code));
}

void repr_string(const Text& text, TextBuilder& out) {
  const bool single = text.bytes.find('\'') != std::string::npos;
  const bool twice = text.bytes.find('"') != std::string::npos;
  const char quote = single && !twice ? '"' : '\'';
  out.append({&quote, 1});
  for (size_t at = 0; at < text.bytes.size();) {
    const size_t begin = at;
    const char32_t c = next_code_point(text.bytes, at);
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      const char pair[] = {'\\', static_cast<char>(c)};
      out.append_as(text, begin, {pair, 2});
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out.append_as(text, begin, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
    } else if (is_printable(c)) {
      out.append(text, begin, at);
    } else {
      append_escaped(c, out, text, begin);
    }
  }
  out.append({&quote, 1});
}

void repr_into(Runtime& runtime, const Value& value, TextBuilder& out);

void repr_dict(Runtime& runtime, const Dict& dict, TextBuilder& out) {
  out.append("{");
  const char* separator = "";
  for (const auto& [key, item] : dict.members) {
    out.append(separator);
    separator = ", ";
    repr_into(runtime, key, out);
    out.append(": ");
    repr_into(runtime, item, out);
  }
  out.append("}");
}

void repr_items(Runtime& runtime, const Items& items, TextBuilder& out) {
  if (items.kind == SequenceKind::range) {
    const auto& [start, stop, step] = items.range;
    return out.append(step == 1 ? fmt::format("range({}, {})", start, stop)
                                : fmt::format("range({}, {}, {})", start, stop, step));
  }
  if (items.kind == SequenceKind::iterator) return out.append("<generator object>");
  const bool tuple = items.kind == SequenceKind::tuple;
  const bool view = !tuple && items.kind != SequenceKind::list;
  if (view) {
    out.append(items.kind == SequenceKind::keys     ? "dict_keys("
               : items.kind == SequenceKind::values ? "dict_values("
                                                    : "dict_items(");
  }
  out.append(tuple ? "(" : "[");
  const char* separator = "";
  for (const auto& item : items.values) {
    out.append(separator);
    separator = ", ";
    repr_into(runtime, item, out);
  }
  if (tuple && items.values.size() == 1) out.append(",");
  out.append(tuple ? ")" : "]");
  if (view) out.append(")");
}

void repr_into(Runtime& runtime, const Value& value, TextBuilder& out) {
  const Deeper guard(runtime);
  const size_t before = out.size();
  if (value.is<None>()) {
    out.append("None");
  } else if (is_undefined(value)) {
    out.append("Undefined");
  } else if (const auto* flag = value.as<bool>()) {
    out.append(*flag ? "True" : "False");
  } else if (const auto* whole = value.as<int64_t>()) {
    out.append(std::to_string(*whole));
  } else if (const auto* real = value.as<double>()) {
    out.append(float_repr(*real));
  } else if (const auto* text = value.text()) {
    if (text->safe) out.append("Markup(");
    repr_string(*text, out);
    if (text->safe) out.append(")");
  } else if (const auto* dict = value.dict()) {
    repr_dict(runtime, *dict, out);
  } else if (const auto* items = value.items()) {
    repr_items(runtime, *items, out);
  } else {
    out.append((*value.as<ObjectPtr>())->repr(runtime));
  }
  runtime.spend(out.size() - before);
  if (out.size() > static_cast<size_t>(kMaxString)) runtime.check_string(out.size());
}

}  // namespace

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  const std::string_view text(buffer, static_cast<size_t>(end - buffer));
  const auto mark = text.find('e');
  int exponent = 0;
  const auto* power = text.data() + mark + 1 + (text[mark + 1] == '+' ? 1 : 0);
  std::from_chars(power, end, exponent);
  std::string out(text.substr(0, text[0] == '-' ? 1 : 0));
  std::string digits;
  for (const char c : text.substr(0, mark))
    if (c >= '0' && c <= '9') digits += c;
  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (digits.size() > 1) out += '.' + digits.substr(1);
    return out + fmt::format("e{}{:02d}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0)
    return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const auto whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) return out + digits + std::string(whole - digits.size(), '0') + ".0";
  return out + digits.substr(0, whole) + '.' + digits.substr(whole);
}

std::string repr(Runtime& runtime, const Value& value) {
  TextBuilder out;
  repr_into(runtime, value, out);
  return out.text().bytes;
}

String str(Runtime& runtime, const Value& value) {
  if (const auto* text = value.as<String>()) return *text;
  TextBuilder out;
  if (!is_undefined(value)) repr_into(runtime, value, out);
  return out.take();
}

}  // namespace weft::tokenizers::jinja
