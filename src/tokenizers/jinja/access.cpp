#include <algorithm>

#include "tokenizers/jinja/runtime.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers::jinja {
namespace {

std::string has_no(const Value& object, std::string_view name) {
  return fmt::format("'{} object' has no attribute '{}'", type_name(object), name);
}

/// Byte at which the character `index` of `text` begins.
size_t byte_of(const Text& text, int64_t index) {
  size_t at = 0;
  for (int64_t i = 0; i < index; ++i) next_code_point(text.bytes, at);
  return at;
}

std::optional<Value> element(Runtime& runtime, const Value& object, int64_t index) {
  const auto size = length(object);
  if (index < 0) index += *size;
  if (index < 0 || index >= *size) return {};
  if (const auto* items = object.items()) return items->values[static_cast<size_t>(index)];
  const auto& text = *object.text();
  runtime.spend(text.bytes.size());
  const size_t begin = byte_of(text, index);
  size_t end = begin;
  next_code_point(text.bytes, end);
  return as_safe(substring(text, begin, end), text.safe);
}

bool is_indexed(const Value& object) {
  const auto* items = object.items();
  return object.text() != nullptr || (items != nullptr && (items->kind == SequenceKind::list ||
                                                           items->kind == SequenceKind::tuple ||
                                                           items->kind == SequenceKind::range));
}

/// object[key], without attributes; nothing where Python raises TypeError or LookupError.
std::optional<Value> subscript(Runtime& runtime, const Value& object, const Value& key) {
  if (const auto* dict = object.dict()) {
    if (!is_hashable(runtime, key)) return {};
    const auto found = dict->index.find(hash_key(runtime, key));
    if (found == dict->index.end()) return {};
    return dict->members[found->second].second;
  }
  if (const auto index = integer(key); index && is_indexed(object))
    return element(runtime, object, *index);
  return {};
}

std::optional<Value> attribute(Runtime& runtime, const Value& object, std::string_view name) {
  if (const auto* known = object.as<ObjectPtr>()) return (*known)->attribute(runtime, name);
  return find_method(runtime, object, name);
}

Value slice_range(Runtime& runtime, const Range& range, int64_t first, int64_t last, int64_t by) {
  const auto at = [&](int64_t start, int64_t count) {
    int64_t out = 0;
    if (__builtin_mul_overflow(count, range.step, &out) || __builtin_add_overflow(start, out, &out))
      runtime.fail("integers above 64 bits");
    return out;
  };
  return make_range(runtime, {at(range.start, first), at(range.start, last), at(0, by)});
}

[[noreturn]] void fail_undefined(Runtime& runtime, const Value& value) {
  runtime.fail("{}", *value.as<Undefined>()->message);
}

}  // namespace

Value get_attribute(Runtime& runtime, const Value& object, const std::string& name) {
  if (is_undefined(object)) fail_undefined(runtime, object);
  if (auto found = attribute(runtime, object, name)) return *found;
  if (auto found = subscript(runtime, object, string_value(name))) return *found;
  return undefined(has_no(object, name));
}

Value get_item(Runtime& runtime, const Value& object, const Value& key) {
  if (is_undefined(object)) fail_undefined(runtime, object);
  if (auto found = subscript(runtime, object, key)) return *found;
  if (const auto* name = key.text()) {
    if (auto found = attribute(runtime, object, name->bytes)) return *found;
    return undefined(has_no(object, name->bytes));
  }
  return undefined(
      fmt::format("{} object has no element {}", type_name(object), repr(runtime, key)));
}

Value get_slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
                const Value& step) {
  if (is_undefined(object)) fail_undefined(runtime, object);
  if (!is_indexed(object)) runtime.fail("'{}' object cannot be sliced", type_name(object));
  const int64_t size = *length(object);
  const auto part = [&](const Value& value) -> std::optional<int64_t> {
    if (value.is<None>()) return {};
    if (const auto whole = integer(value)) return whole;
    runtime.fail("slice indices must be integers or None");
  };
  const int64_t by = part(step).value_or(1);
  if (by == 0) runtime.fail("slice step cannot be zero");
  const int64_t low = by > 0 ? 0 : -1, high = by > 0 ? size : size - 1;
  const auto place = [&](std::optional<int64_t> at, int64_t otherwise) {
    if (!at) return otherwise;
    return std::clamp(*at < 0 ? (*at < -size ? low : *at + size) : *at, low, high);
  };
  const int64_t first = place(part(start), by > 0 ? low : high);
  const int64_t last = place(part(stop), by > 0 ? high : low);
  std::vector<int64_t> picked;
  for (int64_t i = first; by > 0 ? i < last : i > last;) {
    picked.push_back(i);
    if (by > size || by < -size) break;
    i += by;
  }
  runtime.spend(picked.size() + 1);
  if (const auto* items = object.items()) {
    if (items->kind == SequenceKind::range)
      return slice_range(runtime, items->range, first, last, by);
    std::vector<Value> values;
    for (const int64_t i : picked) values.push_back(items->values[static_cast<size_t>(i)]);
    return make_sequence(runtime, items->kind, std::move(values));
  }
  const auto& text = *object.text();
  runtime.spend(text.bytes.size());
  std::vector<size_t> starts;
  for (size_t at = 0; at < text.bytes.size(); next_code_point(text.bytes, at)) starts.push_back(at);
  starts.push_back(text.bytes.size());
  TextBuilder out;
  if (by == 1 && !picked.empty())
    out.append(text, starts[static_cast<size_t>(first)], starts[static_cast<size_t>(last)]);
  else
    for (const int64_t i : picked)
      out.append(text, starts[static_cast<size_t>(i)], starts[static_cast<size_t>(i) + 1]);
  return as_safe(out.take(), text.safe);
}

Value call(Runtime& runtime, const Value& function, CallArguments& arguments) {
  if (is_undefined(function)) fail_undefined(runtime, function);
  const auto* object = function.as<ObjectPtr>();
  if (object == nullptr) runtime.fail("'{}' object is not callable", type_name(function));
  return (*object)->call(runtime, arguments);
}

}  // namespace weft::tokenizers::jinja
