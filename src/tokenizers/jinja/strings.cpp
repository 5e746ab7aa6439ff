#include <algorithm>

#include <utf8proc.h>

#include "tokenizers/jinja/case.hpp"
#include "tokenizers/jinja/filters.hpp"
#include "tokenizers/python_unicode.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers::jinja {
namespace {

/// Characters [begin, end) of `text`, each with the byte that it starts at.
Chars read(const Text& text, size_t begin, size_t end) {
  Chars out;
  for (size_t at = begin; at < end;) {
    const auto start = static_cast<int64_t>(at);
    const char32_t c = next_code_point(text.bytes, at);
    out.push_back({c, {start, static_cast<int64_t>(at)}});
  }
  return out;
}

void append_lower(const Text& text, size_t begin, size_t end, TextBuilder& out) {
  auto chars = read(text, begin, end);
  python_lower(chars);
  for (const auto& c : chars) {
    std::string bytes;
    append_utf8(c.code, bytes);
    out.append_as(text, static_cast<size_t>(c.from.begin), bytes);
  }
}

/// Lowers single characters, from front to back, as they are lowered where they stand in the text:
/// a sigma at the end of a word is another one.
class LowerInPlace {
 public:
  explicit LowerInPlace(const Text& text) : text_(text), chars_(read(text, 0, text.bytes.size())) {
    python_lower(chars_);
  }
  void append(size_t begin, TextBuilder& out) {
    const auto at = static_cast<int64_t>(begin);
    while (next_ < chars_.size() && chars_[next_].from.begin < at) ++next_;
    for (; next_ < chars_.size() && chars_[next_].from.begin == at; ++next_) {
      std::string bytes;
      append_utf8(chars_[next_].code, bytes);
      out.append_as(text_, begin, bytes);
    }
  }

 private:
  const Text& text_;
  Chars chars_;
  size_t next_ = 0;
};

/// One character, raised; the byte behind it.
size_t append_upper(const Text& text, size_t at, bool title, TextBuilder& out) {
  const size_t begin = at;
  std::string bytes;
  append_cased(next_code_point(text.bytes, at), title, bytes);
  out.append_as(text, begin, bytes);
  return at;
}

bool is_cased(char32_t c) {
  const auto code = static_cast<utf8proc_int32_t>(c);
  const auto category = utf8proc_category(code);
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
         category == UTF8PROC_CATEGORY_LT || utf8proc_islower(code) || utf8proc_isupper(code);
}

void jinja_title(const Text& text, TextBuilder& out) {
  const auto splits = [](char32_t c) {
    return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || is_python_space(c);
  };
  const auto& bytes = text.bytes;
  for (size_t at = 0; at < bytes.size();) {
    size_t end = at;
    if (splits(next_code_point(bytes, end))) {
      out.append(text, at, end);
      at = end;
      continue;
    }
    for (size_t next = end; end < bytes.size(); end = next)
      if (splits(next_code_point(bytes, next))) break;
    const size_t rest = append_upper(text, at, false, out);
    append_lower(text, rest, end, out);
    at = end;
  }
}

void python_title(const Text& text, TextBuilder& out) {
  const auto chars = read(text, 0, text.bytes.size());
  LowerInPlace lower(text);
  bool inside = false;
  for (size_t i = 0; i < chars.size(); ++i) {
    const auto begin = static_cast<size_t>(chars[i].from.begin);
    if (inside)
      lower.append(begin, out);
    else
      append_upper(text, begin, true, out);
    inside = is_cased(chars[i].code);
  }
}

}  // namespace

String change_case(Runtime& runtime, const Text& text, Case how) {
  runtime.spend(text.bytes.size() * 4);
  TextBuilder out;
  const size_t size = text.bytes.size();
  switch (how) {
    case Case::lower:
      append_lower(text, 0, size, out);
      break;
    case Case::upper:
      for (size_t at = 0; at < size;) at = append_upper(text, at, false, out);
      break;
    case Case::capitalize: {
      LowerInPlace lower(text);
      for (size_t at = size > 0 ? append_upper(text, 0, true, out) : 0; at < size;) {
        lower.append(at, out);
        next_code_point(text.bytes, at);
      }
      break;
    }
    case Case::title:
      python_title(text, out);
      break;
    case Case::jinja_title:
      jinja_title(text, out);
      break;
    case Case::swap: {
      LowerInPlace lower(text);
      for (size_t at = 0; at < size;) {
        const size_t begin = at;
        if (utf8proc_isupper(static_cast<utf8proc_int32_t>(next_code_point(text.bytes, at))))
          lower.append(begin, out);
        else
          append_upper(text, begin, false, out);
      }
      break;
    }
  }
  return out.take();
}

String strip(Runtime& runtime, const Text& text, const std::optional<std::string>& chars, bool left,
             bool right) {
  runtime.spend(text.bytes.size());
  std::u32string wanted;
  if (chars)
    for (size_t at = 0; at < chars->size();) wanted += next_code_point(*chars, at);
  const auto drop = [&](char32_t c) {
    if (!chars) return is_python_space(c);
    runtime.spend(wanted.size());
    return wanted.find(c) != std::u32string::npos;
  };
  size_t begin = 0, end = text.bytes.size();
  while (left && begin < end) {
    size_t next = begin;
    if (!drop(next_code_point(text.bytes, next))) break;
    begin = next;
  }
  while (right && end > begin) {
    const char32_t c = previous_code_point(text.bytes, end);
    if (!drop(c)) break;
    do --end;
    while ((static_cast<uint8_t>(text.bytes[end]) & 0xC0) == 0x80);
  }
  return substring(text, begin, end);
}

String replace(Runtime& runtime, const Text& text, std::string_view old, const Text& fresh,
               int64_t count) {
  runtime.spend(text.bytes.size());
  TextBuilder out;
  const auto put = [&] {
    runtime.check_string(out.size() + fresh.bytes.size());
    out.append(fresh);
  };
  size_t at = 0;
  if (old.empty()) {
    // In front of every character, and at the end.
    for (; count != 0; count -= count > 0) {
      runtime.spend(fresh.bytes.size() + 1);
      if (static_cast<int64_t>(out.size() + fresh.bytes.size()) > kMaxString) put();
      out.append(fresh);
      if (at >= text.bytes.size()) return out.take();
      const size_t begin = at;
      next_code_point(text.bytes, at);
      out.append(text, begin, at);
    }
  }
  while (count != 0 && !old.empty()) {
    const auto found = text.bytes.find(old, at);
    if (found == std::string::npos) break;
    out.append(text, at, found);
    runtime.spend(fresh.bytes.size() + 1);
    if (static_cast<int64_t>(out.size() + fresh.bytes.size()) > kMaxString) put();
    out.append(fresh);
    at = found + old.size();
    count -= count > 0;
  }
  out.append(text, at, text.bytes.size());
  return out.take();
}

String pad(Runtime& runtime, const Text& text, int64_t width, std::string_view fill,
           int left_of_2) {
  const int64_t missing =
      std::max<int64_t>(0, std::max<int64_t>(0, width) - count_code_points(text.bytes));
  if (missing > kMaxString / 4) runtime.check_string(static_cast<size_t>(missing) * 4);
  runtime.check_string(text.bytes.size() + static_cast<size_t>(missing) * fill.size());
  // str.center puts the odd one at the left where the width is odd.
  const int64_t left = left_of_2 == 0   ? 0
                       : left_of_2 == 2 ? missing
                                        : missing / 2 + (missing & width & 1);
  TextBuilder out;
  for (int64_t i = 0; i < left; ++i) out.append(fill);
  out.append(text);
  for (int64_t i = left; i < missing; ++i) out.append(fill);
  return out.take();
}

String join(Runtime& runtime, const Text& separator, const std::vector<Value>& values,
            bool only_strings) {
  TextBuilder out;
  for (size_t i = 0; i < values.size(); ++i) {
    if (only_strings && values[i].text() == nullptr)
      runtime.fail("sequence item {}: expected str instance, {} found", i, type_name(values[i]));
    const auto part = str(runtime, values[i]);
    const size_t before = out.size();
    if (static_cast<int64_t>(before + separator.bytes.size() + part->bytes.size()) > kMaxString)
      runtime.check_string(before + separator.bytes.size() + part->bytes.size());
    if (i > 0) out.append(separator);
    out.append(*part);
    runtime.spend(out.size() - before);
  }
  return out.take();
}

String escape_html(Runtime& runtime, const Value& value) {
  const auto text = str(runtime, value);
  TextBuilder out;
  for (size_t at = 0; at < text->bytes.size(); ++at) {
    const char c = text->bytes[at];
    const auto* name = c == '&'    ? "&amp;"
                       : c == '<'  ? "&lt;"
                       : c == '>'  ? "&gt;"
                       : c == '"'  ? "&#34;"
                       : c == '\'' ? "&#39;"
                                   : nullptr;
    if (name != nullptr && !text->safe)
      out.append_as(*text, at, name);
    else
      out.append(*text, at, at + 1);
  }
  runtime.check_string(out.size());
  return as_safe(out.take());
}

}  // namespace weft::tokenizers::jinja
