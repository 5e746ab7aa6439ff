#include <algorithm>

#include "tokenizers/jinja/attribute_path.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers::jinja {
namespace {

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
                    : make_sequence(runtime, SequenceKind::iterator, std::move(values));
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

}  // namespace

const std::map<std::string_view, FilterFunction>& sequence_filters() {
  static const std::map<std::string_view, FilterFunction> filters = {{"length", length_filter},
                                                                     {"count", length_filter},
                                                                     {"default", otherwise},
                                                                     {"d", otherwise},
                                                                     {"first", first},
                                                                     {"last", last},
                                                                     {"list", list},
                                                                     {"reverse", reverse},
                                                                     {"sort", sort},
                                                                     {"min", extreme<false>},
                                                                     {"max", extreme<true>},
                                                                     {"sum", sum},
                                                                     {"join", join_filter},
                                                                     {"dictsort", dictsort},
                                                                     {"attr", attr}};
  return filters;
}

FilterFunction find_filter(std::string_view name) {
  for (const auto* table :
       {&string_filters(), &number_filters(), &sequence_filters(), &lazy_filters()})
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
