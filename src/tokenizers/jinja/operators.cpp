#include <algorithm>
#include <cmath>

#include "tokenizers/jinja/filters.hpp"
#include "tokenizers/jinja/runtime.hpp"

namespace weft::tokenizers::jinja {
namespace {

[[noreturn]] void no_operands(Runtime& runtime, std::string_view op, const Value& a,
                              const Value& b) {
  for (const auto* value : {&a, &b})
    if (const auto* gone = value->as<Undefined>()) runtime.fail("{}", *gone->message);
  runtime.fail("unsupported operand types for {}: '{}' and '{}'", op, type_name(a), type_name(b));
}

Value power(Runtime& runtime, int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) runtime.fail("0 cannot be raised to a negative power");
    return std::pow(static_cast<double>(base), static_cast<double>(exponent));
  }
  int64_t out = 1;
  if (base == 0 || base == 1) return exponent == 0 ? int64_t{1} : base;
  if (base == -1) return exponent % 2 == 0 ? int64_t{1} : int64_t{-1};
  for (int64_t i = 0; i < exponent; ++i)
    if (__builtin_mul_overflow(out, base, &out)) runtime.fail("integers above 64 bits");
  return out;
}

Value integers(Runtime& runtime, std::string_view op, int64_t a, int64_t b) {
  int64_t out = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(a, b, &out);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(a, b, &out);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(a, b, &out);
  } else if (op == "**") {
    return power(runtime, a, b);
  } else {
    if (b == 0) runtime.fail("division by zero");
    if (op == "/") return static_cast<double>(a) / static_cast<double>(b);
    if (b == -1) return op == "%" ? Value(int64_t{0}) : integers(runtime, "-", 0, a);
    const int64_t rest = a % b, fix = rest != 0 && (rest < 0) != (b < 0) ? 1 : 0;
    return op == "%" ? rest + fix * b : a / b - fix;
  }
  if (overflow) runtime.fail("integers above 64 bits");
  return out;
}

double float_remainder(double a, double b) {
  const double rest = std::fmod(a, b);
  if (rest == 0) return std::copysign(0.0, b);
  return (rest < 0) != (b < 0) ? rest + b : rest;
}

Value floats(Runtime& runtime, std::string_view op, double a, double b) {
  if (op == "+") return a + b;
  if (op == "-") return a - b;
  if (op == "*") return a * b;
  if (op == "**") {
    if (a == 0 && b < 0) runtime.fail("0.0 cannot be raised to a negative power");
    if (a < 0 && std::trunc(b) != b) runtime.fail("complex numbers are not supported");
    const double out = std::pow(a, b);
    if (std::isinf(out) && !std::isinf(a) && !std::isinf(b)) runtime.fail("result too large");
    return out;
  }
  if (b == 0) runtime.fail("float division by zero");
  if (op == "/") return a / b;
  if (op == "%") return float_remainder(a, b);
  // As CPython: through the remainder, so that the two agree.
  const double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest != 0 && (rest < 0) != (b < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double down = std::floor(quotient);
  return quotient - down > 0.5 ? down + 1 : down;
}

Value repeat(Runtime& runtime, const Value& value, int64_t times) {
  times = std::max<int64_t>(times, 0);
  if (const auto* text = value.text()) {
    if (times > 0 && static_cast<int64_t>(text->bytes.size()) > kMaxString / times)
      runtime.fail("a string is too long (at most {} bytes)", kMaxString);
    TextBuilder out;
    for (int64_t i = 0; i < times && !text->bytes.empty(); ++i) out.append(*text);
    runtime.spend(out.size());
    return as_safe(out.take(), text->safe);
  }
  const auto& items = *value.items();
  if (times > 0 && static_cast<int64_t>(items.values.size()) > kMaxElements / times)
    runtime.fail("a sequence is too long (at most {} elements)", kMaxElements);
  std::vector<Value> out;
  if (!items.values.empty())
    for (int64_t i = 0; i < times; ++i)
      out.insert(out.end(), items.values.begin(), items.values.end());
  return make_sequence(runtime, items.kind, std::move(out));
}

bool is_plain_sequence(const Value& value) {
  const auto* items = value.items();
  return items != nullptr &&
         (items->kind == SequenceKind::list || items->kind == SequenceKind::tuple);
}

Value add_strings(Runtime& runtime, const Value& left, const Value& right) {
  const bool safe = left.text()->safe || right.text()->safe;
  const auto part = [&](const Value& value) {
    return safe && !value.text()->safe ? escape_html(runtime, value) : *value.as<String>();
  };
  const auto a = part(left), b = part(right);
  runtime.check_string(a->bytes.size() + b->bytes.size());
  TextBuilder out;
  out.append(*a);
  out.append(*b);
  return as_safe(out.take(), safe);
}

/// -1, 0 or 1; NaN compares as unordered, 2.
int order(double a, double b) { return a < b ? -1 : a > b ? 1 : a == b ? 0 : 2; }

int compare_numbers(const Value& a, const Value& b) {
  const auto x = integer(a), y = integer(b);
  if (x && y) return *x < *y ? -1 : *x > *y;
  return order(*number(a), *number(b));
}

/// The order of two values of comparable types.
int ordering(Runtime& runtime, const Value& a, const Value& b, std::string_view op) {
  const Deeper guard(runtime);
  if (number(a) && number(b)) return compare_numbers(a, b);
  if (a.text() != nullptr && b.text() != nullptr) {
    runtime.spend(std::min(a.text()->bytes.size(), b.text()->bytes.size()));
    const int sign = a.text()->bytes.compare(b.text()->bytes);
    return sign < 0 ? -1 : sign > 0;
  }
  if (is_plain_sequence(a) && is_plain_sequence(b) && a.items()->kind == b.items()->kind) {
    const auto &x = a.items()->values, &y = b.items()->values;
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i)
      if (!equal(runtime, x[i], y[i])) return ordering(runtime, x[i], y[i], op);
    return x.size() < y.size() ? -1 : x.size() > y.size();
  }
  for (const auto* value : {&a, &b})
    if (const auto* gone = value->as<Undefined>()) runtime.fail("{}", *gone->message);
  runtime.fail("'{}' not supported between instances of '{}' and '{}'", op, type_name(a),
               type_name(b));
}

bool equal_dicts(Runtime& runtime, const Dict& a, const Dict& b) {
  if (a.members.size() != b.members.size()) return false;
  for (const auto& [key, place] : a.index) {
    const auto other = b.index.find(key);
    if (other == b.index.end() ||
        !equal(runtime, a.members[place].second, b.members[other->second].second))
      return false;
  }
  return true;
}

}  // namespace

bool equal(Runtime& runtime, const Value& a, const Value& b) {
  const Deeper guard(runtime);
  runtime.spend(1);
  if (number(a) && number(b)) return compare_numbers(a, b) == 0;
  if (a.data.index() != b.data.index()) return false;
  if (const auto* text = a.text()) {
    runtime.spend(std::min(text->bytes.size(), b.text()->bytes.size()));
    return text->bytes == b.text()->bytes;
  }
  if (const auto* dict = a.dict()) return equal_dicts(runtime, *dict, *b.dict());
  if (const auto* object = a.as<ObjectPtr>()) return *object == *b.as<ObjectPtr>();
  const auto* items = a.items();
  if (items == nullptr) return true;  // None, undefined
  const auto* others = b.items();
  if (items == others) return true;
  if (items->kind != others->kind || items->kind == SequenceKind::iterator ||
      items->kind == SequenceKind::values)
    return false;
  return std::equal(items->values.begin(), items->values.end(), others->values.begin(),
                    others->values.end(),
                    [&](const Value& x, const Value& y) { return equal(runtime, x, y); });
}

bool less(Runtime& runtime, const Value& a, const Value& b, std::string_view op) {
  return ordering(runtime, a, b, op) == -1;
}

bool contains(Runtime& runtime, const Value& container, const Value& item) {
  if (const auto* text = container.text()) {
    const auto* part = item.text();
    if (part == nullptr)
      runtime.fail("'in <string>' requires string as left operand, not {}", type_name(item));
    runtime.spend(text->bytes.size());
    return text->bytes.find(part->bytes) != std::string::npos;
  }
  if (const auto* dict = container.dict()) return dict->index.contains(hash_key(runtime, item));
  if (const auto* items = container.items();
      items != nullptr && items->kind != SequenceKind::iterator)
    return std::any_of(items->values.begin(), items->values.end(),
                       [&](const Value& value) { return equal(runtime, value, item); });
  if (container.items() == nullptr && !is_undefined(container))
    runtime.fail("argument of type '{}' is not iterable", type_name(container));
  const auto values = iterate(runtime, container);
  return std::any_of(values.begin(), values.end(),
                     [&](const Value& value) { return equal(runtime, value, item); });
}

Value binary(Runtime& runtime, std::string_view op, const Value& a, const Value& b) {
  if (const auto x = integer(a), y = integer(b); x && y) return integers(runtime, op, *x, *y);
  if (const auto x = number(a), y = number(b); x && y) return floats(runtime, op, *x, *y);
  if (op == "+") {
    if (a.text() != nullptr && b.text() != nullptr) return add_strings(runtime, a, b);
    if (is_plain_sequence(a) && is_plain_sequence(b) && a.items()->kind == b.items()->kind) {
      auto values = a.items()->values;
      values.insert(values.end(), b.items()->values.begin(), b.items()->values.end());
      return make_sequence(runtime, a.items()->kind, std::move(values));
    }
  }
  if (op == "*") {
    const auto repeatable = [](const Value& v) { return v.text() || is_plain_sequence(v); };
    if (const auto times = integer(b); times && repeatable(a)) return repeat(runtime, a, *times);
    if (const auto times = integer(a); times && repeatable(b)) return repeat(runtime, b, *times);
  }
  if (op == "%" && a.text() != nullptr) {
    const auto is_kind = [&](SequenceKind kind) { return b.items() && b.items()->kind == kind; };
    const bool tuple = is_kind(SequenceKind::tuple);
    // Python takes what has elements by key for a mapping, which need not be used up.
    const bool mapping =
        is_kind(SequenceKind::list) || is_kind(SequenceKind::range) || is_undefined(b);
    return format_percent(runtime, *a.text(), tuple ? b.items()->values : std::vector<Value>{b},
                          b.dict(), !mapping);
  }
  no_operands(runtime, op, a, b);
}

bool compare(Runtime& runtime, std::string_view op, const Value& a, const Value& b) {
  if (op == "==") return equal(runtime, a, b);
  if (op == "!=") return !equal(runtime, a, b);
  if (op == "in") return contains(runtime, b, a);
  if (op == "not in") return !contains(runtime, b, a);
  const int sign = ordering(runtime, a, b, op);
  if (op == "<") return sign == -1;
  if (op == ">") return sign == 1;
  if (op == "<=") return sign == -1 || sign == 0;
  return sign == 1 || sign == 0;
}

Value negate(Runtime& runtime, const Value& value, bool plus) {
  if (const auto* real = value.as<double>()) return plus ? *real : -*real;
  if (const auto whole = integer(value))
    return plus ? Value(*whole) : integers(runtime, "-", 0, *whole);
  if (const auto* gone = value.as<Undefined>()) runtime.fail("{}", *gone->message);
  runtime.fail("bad operand type for unary {}: '{}'", plus ? '+' : '-', type_name(value));
}

}  // namespace weft::tokenizers::jinja
