#include <algorithm>
#include <cmath>

#include "tokenizers/jinja/runtime.hpp"
#include "tokenizers/unicode.hpp"

/// Python's json.dumps.
namespace weft::tokenizers::jinja {
namespace {

void write_string(const Text& text, bool ascii, TextBuilder& out) {
  out.append("\"");
  for (size_t at = 0; at < text.bytes.size();) {
    const size_t begin = at;
    const auto c = static_cast<uint32_t>(next_code_point(text.bytes, at));
    constexpr std::string_view kNames = "\"\\nrtbf", kCodes = "\"\\\n\r\t\b\f";
    const auto known = c < 0x80 ? kCodes.find(static_cast<char>(c)) : std::string_view::npos;
    if (known != std::string_view::npos) {
      const char pair[] = {'\\', kNames[known]};
      out.append_as(text, begin, {pair, 2});
    } else if (c >= 0x10000 && ascii) {
      const uint32_t rest = c - 0x10000;
      out.append_as(
          text, begin,
          fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF)));
    } else if (c < 0x20 || (ascii && c >= 0x7F)) {
      out.append_as(text, begin, fmt::format("\\u{:04x}", c));
    } else {
      out.append(text, begin, at);
    }
  }
  out.append("\"");
}

class Writer {
 public:
  Writer(Runtime& runtime, const JsonStyle& style) : runtime_(runtime), style_(style) {}

  void write(const Value& value, int level) {
    const Deeper guard(runtime_);
    const size_t before = out_.size();
    if (const auto* text = value.text()) {
      write_string(*text, style_.ascii, out_);
    } else if (const auto* dict = value.dict()) {
      write_dict(*dict, level);
    } else if (const auto* items = value.items();
               items != nullptr &&
               (items->kind == SequenceKind::list || items->kind == SequenceKind::tuple)) {
      write_items(*items, level);
    } else {
      out_.append(scalar(value));
    }
    runtime_.check_string(out_.size() - before);
  }
  String take() { return out_.take(); }

 private:
  std::string scalar(const Value& value) const {
    if (value.is<None>()) return "null";
    if (const auto* flag = value.as<bool>()) return *flag ? "true" : "false";
    if (const auto* whole = value.as<int64_t>()) return std::to_string(*whole);
    if (const auto* real = value.as<double>())
      return std::isnan(*real)   ? "NaN"
             : std::isinf(*real) ? (*real < 0 ? "-Infinity" : "Infinity")
                                 : float_repr(*real);
    runtime_.fail("Object of type {} is not JSON serializable", type_name(value));
  }

  void new_line(int level) {
    if (!style_.indent) return;
    runtime_.check_string(style_.indent->size() * static_cast<size_t>(level));
    out_.append("\n");
    for (int i = 0; i < level; ++i) out_.append(*style_.indent);
  }

  void write_items(const Items& items, int level) {
    if (items.values.empty()) return out_.append("[]");
    out_.append("[");
    for (size_t i = 0; i < items.values.size(); ++i) {
      if (i > 0) out_.append(style_.item_separator);
      new_line(level + 1);
      write(items.values[i], level + 1);
    }
    new_line(level);
    out_.append("]");
  }

  void write_dict(const Dict& dict, int level) {
    if (dict.members.empty()) return out_.append("{}");
    std::vector<const std::pair<Value, Value>*> members;
    for (const auto& member : dict.members) members.push_back(&member);
    if (style_.sort_keys)
      std::stable_sort(members.begin(), members.end(), [&](const auto* a, const auto* b) {
        return less(runtime_, a->first, b->first);
      });
    out_.append("{");
    bool first = true;
    for (const auto* member : members) {
      if (!first) out_.append(style_.item_separator);
      first = false;
      new_line(level + 1);
      if (const auto* text = member->first.text()) {
        write_string(*text, style_.ascii, out_);
      } else if (member->first.dict() == nullptr && member->first.items() == nullptr) {
        out_.append('"' + scalar(member->first) + '"');
      } else {
        runtime_.fail("keys must be str, int, float, bool or None, not {}",
                      type_name(member->first));
      }
      out_.append(style_.key_separator);
      write(member->second, level + 1);
    }
    new_line(level);
    out_.append("}");
  }

  Runtime& runtime_;
  const JsonStyle& style_;
  TextBuilder out_;
};

}  // namespace

String to_json(Runtime& runtime, const Value& value, const JsonStyle& style) {
  Writer writer(runtime, style);
  writer.write(value, 0);
  return writer.take();
}

}  // namespace weft::tokenizers::jinja
