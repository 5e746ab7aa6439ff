#include <algorithm>
#include <unordered_set>

#include "tokenizers/jinja/filters.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers::jinja {
namespace {

/// What an attribute argument names: "a.b" and "a.0" go down, a number is an index.
class AttributePath {
 public:
  explicit AttributePath(const Value& attribute) {
    const auto* text = attribute.text();
    if (text == nullptr) {
      if (!attribute.is<None>()) parts_.push_back(attribute);
      return;
    }
    for (size_t at = 0; at <= text->bytes.size();) {
      const auto dot = std::min(text->bytes.find('.', at), text->bytes.size());
      const auto part = text->bytes.substr(at, dot - at);
      const bool digits = !part.empty() && part.size() < 10 &&
                          part.find_first_not_of("0123456789") == std::string::npos;
      parts_.push_back(digits ? Value(int64_t{std::stoi(part)}) : string_value(part));
      at = dot + 1;
    }
  }
  Value get(Runtime& runtime, Value item, const std::optional<Value>& otherwise = {}) const {
    for (const auto& part : parts_) {
      item = get_item(runtime, item, part);
      if (otherwise && !otherwise->is<None>() && is_undefined(item)) item = *otherwise;
    }
    return item;
  }

 private:
  std::vector<Value> parts_;
};

Value folded(Runtime& runtime, const Value& value, bool fold) {
  if (!fold || value.text() == nullptr) return value;
  return change_case(runtime, *value.text(), Case::lower);
}

Value make_iterator(Runtime& runtime, std::vector<Value> values) {
  return make_sequence(runtime, SequenceKind::iterator, std::move(values));
}

/// A generator: what goes wrong in it goes wrong when, and if, its elements are asked for.
template <class Fill>
Value generate(Runtime& runtime, const Fill& fill) {
  std::vector<Value> values;
  std::string error;
  try {
    fill(values);
  } catch (const Error& caught) {
    error = caught.what();
  }
  auto out = make_iterator(runtime, std::move(values));
  (*out.as<SequencePtr>())->error = std::move(error);
  return out;
}

Value length_filter(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "length", arguments, {});
  const auto size = length(value);
  if (!size) runtime.fail("object of type '{}' has no len()", type_name(value));
  return *size;
}

Value otherwise(Runtime& runtime, const Value& value, CallArguments& arguments) {
  const auto bound = bind(runtime, "default", arguments, {"*default_value", "boolean"});
  const bool falsy = bound[1] && truth(*bound[1]) && !truth(value);
  if (is_undefined(value) || falsy) return bound[0].value_or(string_value(""));
  return value;
}

Value first(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "first", arguments, {});
  if (const auto* sequence = value.as<SequencePtr>()) {
    auto& items = **sequence;
    if (items.next >= items.values.size() && !items.error.empty()) throw Error(items.error);
    if (items.next >= items.values.size()) return undefined("No first item, sequence was empty.");
    const auto& item = items.values[items.next];
    if (items.kind == SequenceKind::iterator) ++items.next;
    return item;
  }
  auto values = iterate(runtime, value);
  return values.empty() ? undefined("No first item, sequence was empty.") : values.front();
}

void check_reversible(Runtime& runtime, const Value& value) {
  const auto* items = value.items();
  if ((items != nullptr && items->kind == SequenceKind::iterator) || !length(value))
    runtime.fail("'{}' object is not reversible", type_name(value));
}

Value last(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "last", arguments, {});
  check_reversible(runtime, value);
  if (const auto* items = value.items(); items != nullptr && !items->values.empty())
    return items->values.back();
  auto values = iterate(runtime, value);
  if (values.empty()) return undefined("No last item, sequence was empty.");
  // Python reads a string from its end by index, which keeps markup.
  if (const auto* text = value.text()) return as_safe(*values.back().as<String>(), text->safe);
  return values.back();
}

Value list(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "list", arguments, {});
  return make_list(runtime, iterate(runtime, value));
}

Value reverse(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "reverse", arguments, {});
  const auto* items = value.items();
  const bool iterator = items != nullptr && items->kind == SequenceKind::iterator;
  auto values = iterate(runtime, value);
  std::reverse(values.begin(), values.end());
  if (value.text() == nullptr)
    return iterator ? make_list(runtime, std::move(values))
                    : make_iterator(runtime, std::move(values));
  TextBuilder out;
  for (const auto& part : values) out.append(*part.text());
  return as_safe(out.take(), value.text()->safe);
}

Value sort(Runtime& runtime, const Value& value, CallArguments& arguments) {
  const auto bound = bind(runtime, "sort", arguments, {"*reverse", "case_sensitive", "attribute"});
  const bool backward = bound[0] && truth(*bound[0]), fold = !bound[1] || !truth(*bound[1]);
  std::vector<AttributePath> paths;
  if (bound[2] && bound[2]->text() != nullptr) {
    const auto& names = bound[2]->text()->bytes;
    for (size_t at = 0; at <= names.size();) {
      const auto comma = std::min(names.find(',', at), names.size());
      paths.emplace_back(string_value(names.substr(at, comma - at)));
      at = comma + 1;
    }
  } else {
    paths.emplace_back(bound[2].value_or(Value()));
  }
  std::vector<std::pair<Value, Value>> keyed;
  for (auto& item : iterate(runtime, value)) {
    std::vector<Value> key;
    for (const auto& path : paths) key.push_back(folded(runtime, path.get(runtime, item), fold));
    keyed.emplace_back(make_list(runtime, std::move(key)), item);
  }
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return backward ? less(runtime, b.first, a.first) : less(runtime, a.first, b.first);
  });
  std::vector<Value> out;
  for (auto& [_, item] : keyed) out.push_back(std::move(item));
  return make_list(runtime, std::move(out));
}

void unique_into(Runtime& runtime, const Value& value, CallArguments& arguments,
                 std::vector<Value>& out) {
  const auto bound = bind(runtime, "unique", arguments, {"*case_sensitive", "attribute"});
  const bool fold = !bound[0] || !truth(*bound[0]);
  const AttributePath path(bound[1].value_or(Value()));
  std::unordered_set<std::string> seen;
  for (auto& item : iterate(runtime, value))
    if (seen.insert(hash_key(runtime, folded(runtime, path.get(runtime, item), fold))).second)
      out.push_back(item);
}

template <bool largest>
Value extreme(Runtime& runtime, const Value& value, CallArguments& arguments) {
  const auto bound = bind(runtime, "min", arguments, {"*case_sensitive", "attribute"});
  const bool fold = !bound[0] || !truth(*bound[0]);
  const AttributePath path(bound[1].value_or(Value()));
  auto values = iterate(runtime, value);
  if (values.empty()) return undefined("No aggregated item, sequence was empty.");
  const auto key = [&](const Value& item) {
    return folded(runtime, path.get(runtime, item), fold);
  };
  size_t best = 0;
  auto best_key = key(values[0]);
  for (size_t i = 1; i < values.size(); ++i) {
    auto next = key(values[i]);
    if (largest ? less(runtime, best_key, next, ">") : less(runtime, next, best_key)) {
      best = i;
      best_key = std::move(next);
    }
  }
  return values[best];
}

Value sum(Runtime& runtime, const Value& value, CallArguments& arguments) {
  const auto bound = bind(runtime, "sum", arguments, {"*attribute", "start"});
  const AttributePath path(bound[0].value_or(Value()));
  auto total = bound[1].value_or(Value(int64_t{0}));
  if (total.text() != nullptr) runtime.fail("sum() can't sum strings");
  for (const auto& item : iterate(runtime, value))
    total = binary(runtime, "+", total, path.get(runtime, item));
  return total;
}

Value join_filter(Runtime& runtime, const Value& value, CallArguments& arguments) {
  const auto bound = bind(runtime, "join", arguments, {"*d", "attribute"});
  auto values = iterate(runtime, value);
  if (bound[1] && !bound[1]->is<None>()) {
    const AttributePath path(*bound[1]);
    for (auto& item : values) item = path.get(runtime, item);
  }
  const auto separator = bound[0] ? str(runtime, *bound[0]) : make_string("");
  return join(runtime, *separator, values, false);
}

void map_into(Runtime& runtime, const Value& value, CallArguments& arguments,
              std::vector<Value>& out) {
  if (!truth(value)) return;
  const auto named = [&](std::string_view name) -> const Value* {
    for (const auto& [key, given] : arguments.named)
      if (key == name) return &given;
    return nullptr;
  };
  if (const auto* attribute = named("attribute"); attribute && arguments.positional.empty()) {
    const auto* fallback = named("default");
    if (arguments.named.size() > (fallback != nullptr ? 2u : 1u))
      runtime.fail("map got an unexpected keyword argument");
    const AttributePath path(*attribute);
    const auto otherwise = fallback != nullptr ? std::optional<Value>(*fallback) : std::nullopt;
    for (const auto& item : iterate(runtime, value))
      out.push_back(path.get(runtime, item, otherwise));
    return;
  }
  if (arguments.positional.empty()) runtime.fail("map requires a filter argument");
  const auto filter = need_string(runtime, arguments.positional[0]);
  for (const auto& item : iterate(runtime, value)) {
    CallArguments rest{{arguments.positional.begin() + 1, arguments.positional.end()},
                       arguments.named};
    out.push_back(apply_filter(runtime, filter->bytes, item, rest));
  }
}

template <bool keep, bool by_attribute>
void select_into(Runtime& runtime, const Value& value, CallArguments& arguments,
                 std::vector<Value>& out) {
  if (!truth(value)) return;
  auto& given = arguments.positional;
  if (by_attribute && given.empty()) runtime.fail("missing parameter for attribute name");
  const AttributePath path(by_attribute ? given[0] : Value());
  constexpr size_t kTest = by_attribute ? 1 : 0;
  for (const auto& item : iterate(runtime, value)) {
    const auto looked_at = path.get(runtime, item);
    bool passes = truth(looked_at);
    if (given.size() > kTest) {
      CallArguments rest{{given.begin() + kTest + 1, given.end()}, arguments.named};
      passes = apply_test(runtime, need_string(runtime, given[kTest])->bytes, looked_at, rest);
    }
    if (passes == keep) out.push_back(item);
  }
}

void items_into(Runtime& runtime, const Value& value, CallArguments& arguments,
                std::vector<Value>& out) {
  bind(runtime, "items", arguments, {});
  if (const auto* dict = value.dict()) {
    for (const auto& [key, item] : dict->members)
      out.push_back(make_sequence(runtime, SequenceKind::tuple, {key, item}));
  } else if (!is_undefined(value)) {
    runtime.fail("Can only get item pairs from a mapping.");
  }
}

Value dictsort(Runtime& runtime, const Value& value, CallArguments& arguments) {
  const auto bound = bind(runtime, "dictsort", arguments, {"*case_sensitive", "by", "reverse"});
  const bool fold = !bound[0] || !truth(*bound[0]), backward = bound[2] && truth(*bound[2]);
  const auto by = bound[1] ? str(runtime, *bound[1])->bytes : "key";
  if (by != "key" && by != "value")
    runtime.fail("You can only sort by either \"key\" or \"value\"");
  if (value.dict() == nullptr) runtime.fail("dictsort needs a mapping, found {}", type_name(value));
  auto members = value.dict()->members;
  const auto key = [&](const auto& member) {
    return folded(runtime, by == "key" ? member.first : member.second, fold);
  };
  std::stable_sort(members.begin(), members.end(), [&](const auto& a, const auto& b) {
    return backward ? less(runtime, key(b), key(a)) : less(runtime, key(a), key(b));
  });
  std::vector<Value> out;
  for (auto& [name, item] : members)
    out.push_back(make_sequence(runtime, SequenceKind::tuple, {name, item}));
  return make_list(runtime, std::move(out));
}

void batch_into(Runtime& runtime, const Value& value, CallArguments& arguments,
                std::vector<Value>& out) {
  const auto bound = bind(runtime, "batch", arguments, {"linecount", "*fill_with"});
  const int64_t width = need_integer(runtime, bound[0], 0);
  std::vector<Value> row;
  for (const auto& item : iterate(runtime, value)) {
    if (static_cast<int64_t>(row.size()) == width) {
      out.push_back(make_list(runtime, row));
      row.clear();
    }
    row.push_back(item);
  }
  if (!row.empty()) {
    if (bound[1] && !bound[1]->is<None>())
      while (static_cast<int64_t>(row.size()) < width) {
        runtime.spend(1);
        row.push_back(*bound[1]);
        if (row.size() > static_cast<size_t>(kMaxElements)) runtime.fail("a batch is too long");
      }
    out.push_back(make_list(runtime, row));
  }
}

Value attr(Runtime& runtime, const Value& value, CallArguments& arguments) {
  const auto bound = bind(runtime, "attr", arguments, {"name"});
  const auto name = need_string(runtime, bound[0]);
  if (is_undefined(value)) return get_attribute(runtime, value, name->bytes);
  if (const auto* object = value.as<ObjectPtr>()) {
    if (auto found = (*object)->attribute(runtime, name->bytes)) return *found;
  } else if (auto found = find_method(runtime, value, name->bytes)) {
    return *found;
  }
  return undefined(fmt::format("'{} object' has no attribute '{}'", type_name(value), name->bytes));
}

template <void (*fill)(Runtime&, const Value&, CallArguments&, std::vector<Value>&)>
Value generator(Runtime& runtime, const Value& value, CallArguments& arguments) {
  return generate(runtime, [&](auto& out) { fill(runtime, value, arguments, out); });
}

}  // namespace

const std::map<std::string_view, FilterFunction>& sequence_filters() {
  static const std::map<std::string_view, FilterFunction> filters = {
      {"length", length_filter},
      {"count", length_filter},
      {"default", otherwise},
      {"d", otherwise},
      {"first", first},
      {"last", last},
      {"list", list},
      {"reverse", reverse},
      {"sort", sort},
      {"unique", generator<unique_into>},
      {"min", extreme<false>},
      {"max", extreme<true>},
      {"sum", sum},
      {"join", join_filter},
      {"map", generator<map_into>},
      {"select", generator<select_into<true, false>>},
      {"reject", generator<select_into<false, false>>},
      {"selectattr", generator<select_into<true, true>>},
      {"rejectattr", generator<select_into<false, true>>},
      {"items", generator<items_into>},
      {"dictsort", dictsort},
      {"batch", generator<batch_into>},
      {"attr", attr}};
  return filters;
}

FilterFunction find_filter(std::string_view name) {
  for (const auto* table : {&string_filters(), &sequence_filters()})
    if (const auto found = table->find(name); found != table->end()) return found->second;
  return nullptr;
}

Value apply_filter(Runtime& runtime, std::string_view name, const Value& value,
                   CallArguments& arguments) {
  const Deeper guard(runtime);
  const auto filter = find_filter(name);
  if (filter == nullptr) runtime.fail("no filter named '{}'", name);
  runtime.spend(1);
  return filter(runtime, value, arguments);
}

}  // namespace weft::tokenizers::jinja
