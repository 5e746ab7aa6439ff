#include <unordered_set>

#include "tokenizers/jinja/attribute_path.hpp"

/// Filters that make iterators.
namespace weft::tokenizers::jinja {
namespace {

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
  auto out = make_sequence(runtime, SequenceKind::iterator, std::move(values));
  (*out.as<SequencePtr>())->error = std::move(error);
  return out;
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

template <void (*fill)(Runtime&, const Value&, CallArguments&, std::vector<Value>&)>
Value generator(Runtime& runtime, const Value& value, CallArguments& arguments) {
  return generate(runtime, [&](auto& out) { fill(runtime, value, arguments, out); });
}

}  // namespace

const std::map<std::string_view, FilterFunction>& lazy_filters() {
  static const std::map<std::string_view, FilterFunction> filters = {
      {"unique", generator<unique_into>},
      {"map", generator<map_into>},
      {"select", generator<select_into<true, false>>},
      {"reject", generator<select_into<false, false>>},
      {"selectattr", generator<select_into<true, true>>},
      {"rejectattr", generator<select_into<false, true>>},
      {"items", generator<items_into>},
      {"batch", generator<batch_into>}};
  return filters;
}

}  // namespace weft::tokenizers::jinja
