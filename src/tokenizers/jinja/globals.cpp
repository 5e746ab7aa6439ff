#include <algorithm>

#include "tokenizers/jinja/filters.hpp"

namespace weft::tokenizers::jinja {
namespace {

using Call = Value (*)(Runtime&, CallArguments&);

class Function : public Object {
 public:
  Function(const char* name, Call function) : name_(name), function_(function) {}
  std::string repr(Runtime&) const override { return fmt::format("<function {}>", name_); }
  const char* type_name() const override { return "function"; }
  bool callable() const override { return true; }
  Value call(Runtime& runtime, CallArguments& arguments) override {
    return function_(runtime, arguments);
  }

 private:
  const char* name_;
  Call function_;
};

Value range(Runtime& runtime, CallArguments& arguments) {
  const auto bound = bind(runtime, "range", arguments, {"start", "*stop", "step"});
  for (const auto& value : bound)
    if (value && !integer(*value))
      runtime.fail("range() needs integers, found {}", type_name(*value));
  const int64_t start = bound[1] ? *integer(*bound[0]) : 0;
  const int64_t stop = *integer(bound[1] ? *bound[1] : *bound[0]);
  const int64_t step = bound[2] ? *integer(*bound[2]) : 1;
  if (step == 0) runtime.fail("range() arg 3 must not be zero");
  return make_range(runtime, {start, stop, step});
}

/// dict(mapping or pairs, name = value ...)
DictPtr make_dict(Runtime& runtime, CallArguments& arguments) {
  auto out = std::make_shared<Dict>();
  if (arguments.positional.size() > 1) runtime.fail("dict expected at most 1 argument");
  if (!arguments.positional.empty()) {
    const auto& from = arguments.positional[0];
    if (const auto* dict = from.dict()) {
      for (const auto& [key, value] : dict->members) insert(runtime, *out, key, value);
    } else {
      for (const auto& item : iterate(runtime, from)) {
        const auto pair = iterate(runtime, item);
        if (pair.size() != 2) runtime.fail("dict needs pairs, found {} elements", pair.size());
        insert(runtime, *out, pair[0], pair[1]);
      }
    }
  }
  for (auto& [name, value] : arguments.named) insert(runtime, *out, string_value(name), value);
  return out;
}

Value dict(Runtime& runtime, CallArguments& arguments) { return make_dict(runtime, arguments); }

Value make_namespace(Runtime& runtime, CallArguments& arguments) {
  auto space = std::make_shared<Namespace>();
  space->attributes = make_dict(runtime, arguments);
  for (const auto& [key, _] : space->attributes->members)
    if (key.text() != nullptr && key.text()->bytes.starts_with('_'))
      runtime.fail("a namespace cannot have the attribute '{}', which begins with '_'",
                   key.text()->bytes);
  runtime.keep(space);
  return std::static_pointer_cast<Object>(space);
}

Value raise_exception(Runtime& runtime, CallArguments& arguments) {
  const auto bound = bind(runtime, "raise_exception", arguments, {"message"});
  runtime.fail("{}", str(runtime, *bound[0])->bytes);
}

Value strftime_now(Runtime& runtime, CallArguments& arguments) {
  const auto bound = bind(runtime, "strftime_now", arguments, {"format"});
  const auto format = need_string(runtime, bound[0])->bytes;
  if (format.size() > 1000) runtime.fail("strftime_now: the format is too long");
  // Widths, which glibc knows, would make long texts.
  for (size_t at = format.find('%'); at != std::string::npos; at = format.find('%', at + 2))
    if (at + 1 >= format.size() || format[at + 1] == '_' ||
        (format[at + 1] >= '0' && format[at + 1] <= '9'))
      runtime.fail("strftime_now: bad format '{}'", format);
  const auto now = static_cast<std::time_t>(runtime.now);
  std::tm local = {};
  localtime_r(&now, &local);
  std::vector<char> buffer(64 * format.size() + 64);
  const size_t size = std::strftime(buffer.data(), buffer.size(), format.c_str(), &local);
  return string_value(std::string(buffer.data(), size));
}

}  // namespace

std::string Namespace::repr(Runtime& runtime) const {
  return "<Namespace " + jinja::repr(runtime, attributes) + '>';
}

std::optional<Value> Namespace::attribute(Runtime&, std::string_view name) {
  const auto* found = attributes->find(name);
  return found != nullptr ? std::optional<Value>(*found) : std::nullopt;
}

void add_globals(Scope& scope) {
  const std::pair<const char*, Call> functions[] = {{"range", range},
                                                    {"dict", dict},
                                                    {"namespace", make_namespace},
                                                    {"raise_exception", raise_exception},
                                                    {"strftime_now", strftime_now}};
  for (const auto& [name, function] : functions)
    scope.variables[name] =
        std::static_pointer_cast<Object>(std::make_shared<Function>(name, function));
}

}  // namespace weft::tokenizers::jinja
