#include "tokenizers/jinja/value.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "tokenizers/jinja/runtime.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers::jinja {
namespace {

const char* sequence_name(SequenceKind kind) {
  switch (kind) {
    case SequenceKind::list:
      return "list";
    case SequenceKind::tuple:
      return "tuple";
    case SequenceKind::range:
      return "range";
    case SequenceKind::iterator:
      return "generator";
    case SequenceKind::keys:
      return "dict_keys";
    case SequenceKind::values:
      return "dict_values";
    case SequenceKind::items:
      break;
  }
  return "dict_items";
}

}  // namespace

const Value* Dict::find(std::string_view key) const {
  const auto found = index.find('s' + std::string(key));
  return found == index.end() ? nullptr : &members[found->second].second;
}

Value Object::call(Runtime& runtime, CallArguments&) {
  runtime.fail("'{}' object is not callable", type_name());
}

const char* type_name(const Value& value) {
  if (value.is<None>()) return "NoneType";
  if (is_undefined(value)) return "Undefined";
  if (value.is<bool>()) return "bool";
  if (value.is<int64_t>()) return "int";
  if (value.is<double>()) return "float";
  if (value.text() != nullptr) return "str";
  if (value.dict() != nullptr) return "dict";
  if (const auto* items = value.items()) return sequence_name(items->kind);
  return (*value.as<ObjectPtr>())->type_name();
}

bool truth(const Value& value) {
  if (const auto* flag = value.as<bool>()) return *flag;
  if (const auto* whole = value.as<int64_t>()) return *whole != 0;
  if (const auto* real = value.as<double>()) return *real != 0;
  if (value.is<None>() || is_undefined(value)) return false;
  if (const auto* text = value.text()) return !text->bytes.empty();
  if (const auto* dict = value.dict()) return !dict->members.empty();
  if (const auto* items = value.items())
    return items->kind == SequenceKind::iterator || !items->values.empty();
  return true;
}

int depth(const Value& value) {
  if (const auto* items = value.items()) return items->depth;
  if (const auto* dict = value.dict()) return dict->depth;
  if (const auto* object = value.as<ObjectPtr>()) return (*object)->depth;
  return 0;
}

static int depth_above(Runtime& runtime, int inside) {
  if (inside >= kMaxValueDepth) runtime.fail("values are nested more than {} deep", kMaxValueDepth);
  return inside + 1;
}

std::optional<int64_t> integer(const Value& value) {
  if (const auto* flag = value.as<bool>()) return *flag ? 1 : 0;
  if (const auto* whole = value.as<int64_t>()) return *whole;
  return {};
}

std::optional<double> number(const Value& value) {
  if (const auto* real = value.as<double>()) return *real;
  if (const auto whole = integer(value)) return static_cast<double>(*whole);
  return {};
}

bool is_hashable(Runtime& runtime, const Value& value) {
  runtime.spend(1);
  const auto* items = value.items();
  if (items == nullptr) return value.dict() == nullptr;
  if (items->kind == SequenceKind::tuple)
    return std::all_of(items->values.begin(), items->values.end(),
                       [&](const Value& item) { return is_hashable(runtime, item); });
  return items->kind == SequenceKind::range || items->kind == SequenceKind::iterator ||
         items->kind == SequenceKind::values;
}

std::string hash_key(Runtime& runtime, const Value& value) {
  if (const auto* text = value.text()) {
    runtime.spend(text->bytes.size());
    return 's' + text->bytes;
  }
  if (value.is<None>()) return "n";
  if (is_undefined(value)) return "u";
  if (const auto whole = integer(value)) return 'i' + std::to_string(*whole);
  if (const auto* real = value.as<double>()) {
    if (std::trunc(*real) == *real && std::abs(*real) < 9e18)
      return 'i' + std::to_string(static_cast<int64_t>(*real));
    return 'f' + std::to_string(std::bit_cast<uint64_t>(*real));
  }
  if (const auto* items = value.items(); items != nullptr && items->kind == SequenceKind::tuple) {
    std::string key = "t";
    for (const auto& item : items->values) {
      const auto part = hash_key(runtime, item);
      key += std::to_string(part.size());
      key += ':';
      key += part;
    }
    runtime.spend(key.size());
    return key;
  }
  if (const auto* object = value.as<ObjectPtr>())
    return 'o' + std::to_string(reinterpret_cast<uintptr_t>(object->get()));
  if (is_hashable(runtime, value)) {
    const auto& range = *value.items();
    if (range.kind != SequenceKind::range)
      return 'o' + std::to_string(reinterpret_cast<uintptr_t>(&range));
    std::string key = 'r' + std::to_string(range.values.size());
    for (size_t i = 0; i < std::min<size_t>(2, range.values.size()); ++i)
      key += ':' + std::to_string(*integer(range.values[i]));
    return key;
  }
  runtime.fail("unhashable type: '{}'", type_name(value));
}

Value make_sequence(Runtime& runtime, SequenceKind kind, std::vector<Value> values) {
  if (values.size() > static_cast<size_t>(kMaxElements))
    runtime.fail("a sequence of {} elements is too long", values.size());
  runtime.spend(values.size() + 1);
  auto items = std::make_shared<Items>();
  int inside = 0;
  for (const auto& value : values) inside = std::max(inside, depth(value));
  items->depth = depth_above(runtime, inside);
  items->kind = kind;
  items->values = std::move(values);
  return items;
}

Value make_range(Runtime& runtime, const Range& range) {
  std::vector<Value> values;
  for (int64_t at = range.start; range.step > 0 ? at < range.stop : at > range.stop;) {
    if (static_cast<int64_t>(values.size()) >= kMaxRange)
      runtime.fail("range of more than {} numbers", kMaxRange);
    values.emplace_back(at);
    if (__builtin_add_overflow(at, range.step, &at)) break;
  }
  auto out = make_sequence(runtime, SequenceKind::range, std::move(values));
  (*out.as<SequencePtr>())->range = range;
  return out;
}

void insert(Runtime& runtime, Dict& dict, Value key, Value value) {
  dict.depth = std::max(dict.depth, depth_above(runtime, std::max(depth(key), depth(value))));
  const auto [place, fresh] = dict.index.emplace(hash_key(runtime, key), dict.members.size());
  if (fresh)
    dict.members.emplace_back(std::move(key), std::move(value));
  else
    dict.members[place->second].second = std::move(value);
  runtime.spend(1);
}

Value undefined(std::string message) {
  return Undefined{std::make_shared<const std::string>(std::move(message))};
}

std::vector<Value> iterate(Runtime& runtime, const Value& value) {
  std::vector<Value> out;
  if (const auto* sequence = value.as<SequencePtr>()) {
    auto& items = **sequence;
    const auto begin = items.values.begin() + static_cast<std::ptrdiff_t>(items.next);
    out.assign(begin, items.values.end());
    if (items.kind == SequenceKind::iterator) items.next = items.values.size();
    if (!items.error.empty()) throw Error(items.error);
  } else if (const auto* dict = value.dict()) {
    out.reserve(dict->members.size());
    for (const auto& [key, _] : dict->members) out.push_back(key);
  } else if (const auto* text = value.text()) {
    for (size_t at = 0; at < text->bytes.size();) {
      const size_t begin = at;
      next_code_point(text->bytes, at);
      out.emplace_back(substring(*text, begin, at));
    }
  } else if (!is_undefined(value)) {
    runtime.fail("'{}' object is not iterable", type_name(value));
  }
  runtime.spend(out.size() + 1);
  return out;
}

std::optional<int64_t> length(const Value& value) {
  if (const auto* text = value.text()) return count_code_points(text->bytes);
  if (const auto* dict = value.dict()) return static_cast<int64_t>(dict->members.size());
  if (const auto* items = value.items(); items != nullptr && items->kind != SequenceKind::iterator)
    return static_cast<int64_t>(items->values.size());
  if (is_undefined(value)) return 0;
  return {};
}

Runtime::~Runtime() {
  // One by one while all are held, so that no long chain of them is taken down at once.
  for (const auto& space : spaces_) {
    const auto taken = std::exchange(space->attributes, std::make_shared<Dict>());
    static_cast<void>(taken);
  }
  for (const auto& scope : scopes_) {
    const auto variables = std::exchange(scope->variables, {});
    static_cast<void>(variables);
  }
}

std::vector<std::optional<Value>> bind(Runtime& runtime, std::string_view function,
                                       CallArguments& arguments,
                                       std::initializer_list<std::string_view> parameters) {
  std::vector<std::optional<Value>> out(parameters.size());
  if (arguments.positional.size() > parameters.size())
    runtime.fail("{}() takes at most {} arguments, {} were given", function, parameters.size(),
                 arguments.positional.size());
  for (size_t i = 0; i < arguments.positional.size(); ++i)
    out[i] = std::move(arguments.positional[i]);
  const auto plain = [](std::string_view name) {
    return name.starts_with('*') ? name.substr(1) : name;
  };
  for (auto& [name, value] : arguments.named) {
    const auto* found = parameters.begin();
    while (found != parameters.end() && plain(*found) != name) ++found;
    if (found == parameters.end())
      runtime.fail("{}() got an unexpected keyword argument '{}'", function, name);
    auto& place = out[static_cast<size_t>(found - parameters.begin())];
    if (place) runtime.fail("{}() got multiple values for argument '{}'", function, name);
    place = std::move(value);
  }
  size_t i = 0;
  for (const auto parameter : parameters) {
    if (parameter.starts_with('*')) break;
    if (!out[i++]) runtime.fail("{}() misses its argument '{}'", function, parameter);
  }
  return out;
}

}  // namespace weft::tokenizers::jinja
