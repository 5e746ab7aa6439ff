#include <algorithm>
#include <iterator>

#include "tokenizers/jinja/filters.hpp"

/// Methods of strings, lists and mappings.
namespace weft::tokenizers::jinja {
namespace {

constexpr std::string_view kStringMethods[] = {
    "capitalize",   "casefold",    "center",    "count",      "encode",       "endswith",
    "expandtabs",   "find",        "format",    "format_map", "index",        "isalnum",
    "isalpha",      "isascii",     "isdecimal", "isdigit",    "isidentifier", "islower",
    "isnumeric",    "isprintable", "isspace",   "istitle",    "isupper",      "join",
    "ljust",        "lower",       "lstrip",    "maketrans",  "partition",    "removeprefix",
    "removesuffix", "replace",     "rfind",     "rindex",     "rjust",        "rpartition",
    "rsplit",       "rstrip",      "split",     "splitlines", "startswith",   "strip",
    "swapcase",     "title",       "translate", "upper",      "zfill"};
constexpr std::string_view kDictMethods[] = {"copy", "fromkeys", "get", "items", "keys", "values"};
constexpr std::string_view kListMethods[] = {"copy", "count", "index"};
constexpr std::string_view kFixedMethods[] = {"count", "index"};  // of tuples and ranges
/// What jinja2's sandbox keeps templates from: the name is known, but undefined.
constexpr std::string_view kDictChanges[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::string_view kListChanges[] = {"append", "clear",  "extend",  "insert",
                                             "pop",    "remove", "reverse", "sort"};

template <size_t N>
bool among(const std::string_view (&names)[N], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

Value call_dict_method(Runtime& runtime, const DictPtr& self, std::string_view name,
                       CallArguments& arguments) {
  if (name == "get") {
    const auto bound = bind(runtime, "get", arguments, {"key", "*default"});
    const auto found = self->index.find(hash_key(runtime, *bound[0]));
    if (found != self->index.end()) return self->members[found->second].second;
    return bound[1].value_or(Value());
  }
  if (name == "fromkeys") runtime.fail("dict.fromkeys is not supported");
  bind(runtime, name, arguments, {});
  if (name == "copy") return self;
  std::vector<Value> values;
  for (const auto& [key, value] : self->members) {
    if (name == "items")
      values.push_back(make_sequence(runtime, SequenceKind::tuple, {key, value}));
    else
      values.push_back(name == "keys" ? key : value);
  }
  return make_sequence(runtime,
                       name == "items"  ? SequenceKind::items
                       : name == "keys" ? SequenceKind::keys
                                        : SequenceKind::values,
                       std::move(values));
}

Value call_sequence_method(Runtime& runtime, const Value& self, std::string_view name,
                           CallArguments& arguments) {
  const auto& values = self.items()->values;
  if (name == "copy") {
    bind(runtime, name, arguments, {});
    return self;
  }
  const auto bound = bind(runtime, name, arguments, {"value"});
  const auto matches = [&](const Value& value) { return equal(runtime, value, *bound[0]); };
  if (name == "count")
    return static_cast<int64_t>(std::count_if(values.begin(), values.end(), matches));
  const auto found = std::find_if(values.begin(), values.end(), matches);
  if (found == values.end()) runtime.fail("{} is not in the list", repr(runtime, *bound[0]));
  return static_cast<int64_t>(found - values.begin());
}

class Method : public Object {
 public:
  Method(Value self, std::string name) : self_(std::move(self)), name_(std::move(name)) {
    depth = jinja::depth(self_) + 1;
  }
  std::string repr(Runtime&) const override {
    return fmt::format("<built-in method {} of {} object>", name_, jinja::type_name(self_));
  }
  const char* type_name() const override { return "builtin_function_or_method"; }
  bool callable() const override { return true; }
  Value call(Runtime& runtime, CallArguments& arguments) override {
    if (const auto* text = self_.as<String>())
      return call_string_method(runtime, *text, name_, arguments);
    if (const auto* dict = self_.as<DictPtr>())
      return call_dict_method(runtime, *dict, name_, arguments);
    return call_sequence_method(runtime, self_, name_, arguments);
  }

 private:
  Value self_;
  std::string name_;
};

}  // namespace

std::optional<Value> find_method(Runtime&, const Value& object, std::string_view name) {
  const auto* items = object.items();
  const bool list = items != nullptr && items->kind == SequenceKind::list;
  const bool fixed = items != nullptr &&
                     (items->kind == SequenceKind::tuple || items->kind == SequenceKind::range);
  if ((object.dict() != nullptr && among(kDictChanges, name)) ||
      (list && among(kListChanges, name)))
    return undefined(
        fmt::format("access to attribute '{}' of '{}' object is unsafe", name, type_name(object)));
  if ((object.text() != nullptr && among(kStringMethods, name)) ||
      (object.dict() != nullptr && among(kDictMethods, name)) ||
      (list && among(kListMethods, name)) || (fixed && among(kFixedMethods, name)))
    return std::static_pointer_cast<Object>(std::make_shared<Method>(object, std::string(name)));
  return {};
}

}  // namespace weft::tokenizers::jinja
