#include <cmath>

#include <utf8proc.h>

#include "tokenizers/jinja/filters.hpp"
#include "tokenizers/unicode.hpp"

/// What follows `is`.
namespace weft::tokenizers::jinja {
namespace {

using Test = TestFunction;

Value remainder(Runtime& runtime, const Value& value, const Value& by) {
  if (value.text() != nullptr || (!number(value) && !is_undefined(value)))
    runtime.fail("not a number: {}", type_name(value));
  return binary(runtime, "%", value, by);
}

template <int64_t rest>
bool parity(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "test", arguments, {});
  return equal(runtime, remainder(runtime, value, int64_t{2}), rest);
}

bool divisible(Runtime& runtime, const Value& value, CallArguments& arguments) {
  const auto bound = bind(runtime, "divisibleby", arguments, {"num"});
  return equal(runtime, remainder(runtime, value, *bound[0]), int64_t{0});
}

template <char op>
bool comparison(Runtime& runtime, const Value& value, CallArguments& arguments) {
  const auto bound = bind(runtime, "test", arguments, {"other"});
  constexpr auto kName = op == '='   ? "=="
                         : op == '!' ? "!="
                         : op == '<' ? "<"
                         : op == '>' ? ">"
                         : op == 'l' ? "<="
                         : op == 'g' ? ">="
                                     : "in";
  return compare(runtime, kName, value, *bound[0]);
}

bool same(Runtime& runtime, const Value& value, CallArguments& arguments) {
  const auto bound = bind(runtime, "sameas", arguments, {"other"});
  const auto& other = *bound[0];
  if (value.data.index() != other.data.index()) return false;
  if (const auto* items = value.items()) return items == other.items();
  if (const auto* dict = value.dict()) return dict == other.dict();
  return equal(runtime, value, other);
}

template <bool upper>
bool cased(Runtime& runtime, const Value& value, CallArguments& arguments) {
  return truth(
      call_string_method(runtime, str(runtime, value), upper ? "isupper" : "islower", arguments));
}

template <class T>
bool of_type(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "test", arguments, {});
  return value.is<T>();
}

template <bool wanted>
bool is_flag(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "test", arguments, {});
  return value.is<bool>() && *value.as<bool>() == wanted;
}

bool defined(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "defined", arguments, {});
  return !is_undefined(value);
}

bool is_number(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "number", arguments, {});
  return number(value).has_value();
}

bool sequence(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "sequence", arguments, {});
  const auto* items = value.items();
  if (items == nullptr)
    return value.text() != nullptr || value.dict() != nullptr || is_undefined(value);
  return items->kind == SequenceKind::list || items->kind == SequenceKind::tuple ||
         items->kind == SequenceKind::range;
}

bool iterable(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "iterable", arguments, {});
  return value.text() != nullptr || value.dict() != nullptr || value.items() != nullptr ||
         is_undefined(value);
}

bool callable(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "callable", arguments, {});
  const auto* object = value.as<ObjectPtr>();
  // An undefined value has a method for being called.
  return is_undefined(value) || (object != nullptr && (*object)->callable());
}

bool escaped(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "escaped", arguments, {});
  return value.text() != nullptr && value.text()->safe;
}

bool names_filter(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "filter", arguments, {});
  return value.text() != nullptr && find_filter(value.text()->bytes) != nullptr;
}

bool names_test(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "test", arguments, {});
  return value.text() != nullptr && find_test(value.text()->bytes) != nullptr;
}

}  // namespace

TestFunction find_test(std::string_view name) {
  static const std::map<std::string_view, Test> tests = {{"odd", parity<1>},
                                                         {"even", parity<0>},
                                                         {"divisibleby", divisible},
                                                         {"defined", defined},
                                                         {"undefined", of_type<Undefined>},
                                                         {"none", of_type<None>},
                                                         {"boolean", of_type<bool>},
                                                         {"true", is_flag<true>},
                                                         {"false", is_flag<false>},
                                                         {"integer", of_type<int64_t>},
                                                         {"float", of_type<double>},
                                                         {"number", is_number},
                                                         {"string", of_type<String>},
                                                         {"mapping", of_type<DictPtr>},
                                                         {"sequence", sequence},
                                                         {"iterable", iterable},
                                                         {"callable", callable},
                                                         {"escaped", escaped},
                                                         {"lower", cased<false>},
                                                         {"upper", cased<true>},
                                                         {"sameas", same},
                                                         {"in", comparison<'i'>},
                                                         {"==", comparison<'='>},
                                                         {"eq", comparison<'='>},
                                                         {"equalto", comparison<'='>},
                                                         {"!=", comparison<'!'>},
                                                         {"ne", comparison<'!'>},
                                                         {">", comparison<'>'>},
                                                         {"gt", comparison<'>'>},
                                                         {"greaterthan", comparison<'>'>},
                                                         {">=", comparison<'g'>},
                                                         {"ge", comparison<'g'>},
                                                         {"<", comparison<'<'>},
                                                         {"lt", comparison<'<'>},
                                                         {"lessthan", comparison<'<'>},
                                                         {"<=", comparison<'l'>},
                                                         {"le", comparison<'l'>},
                                                         {"filter", names_filter},
                                                         {"test", names_test}};
  const auto found = tests.find(name);
  return found == tests.end() ? nullptr : found->second;
}

bool apply_test(Runtime& runtime, std::string_view name, const Value& value,
                CallArguments& arguments) {
  const auto test = find_test(name);
  if (test == nullptr) runtime.fail("no test named '{}'", name);
  runtime.spend(1);
  return test(runtime, value, arguments);
}

}  // namespace weft::tokenizers::jinja
