#include <charconv>
#include <cmath>

#include "tokenizers/jinja/filters.hpp"

namespace weft::tokenizers::jinja {
namespace {

/// int(text, base) of Python, or nothing.
std::optional<int64_t> parse_integer(Runtime& runtime, const Text& text, int64_t base) {
  auto digits = strip(runtime, text, {}, true, true)->bytes;
  const bool minus = digits.starts_with('-');
  if (minus || digits.starts_with('+')) digits.erase(0, 1);
  if (digits.size() > 2 && digits[0] == '0') {
    const char letter = static_cast<char>(digits[1] | 0x20);
    const int64_t named = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : -1;
    if (named == base || (named > 0 && base == 0)) {
      digits.erase(0, 2);
      base = named;
      if (digits.starts_with('_')) digits.erase(0, 1);
    }
  }
  if (base == 0) base = 10;
  if (digits.empty() || digits.starts_with('_') || digits.ends_with('_') ||
      digits.find("__") != std::string::npos || base < 2 || base > 36)
    return {};
  std::erase(digits, '_');
  int64_t out = 0;
  const auto* end = digits.data() + digits.size();
  const auto [at, error] = std::from_chars(digits.data(), end, out, static_cast<int>(base));
  if (at != end || digits[0] == '-') return {};
  if (error != std::errc()) runtime.fail("integers above 64 bits");
  return minus ? -out : out;
}

/// float(text) of Python, or nothing.
std::optional<double> parse_float(Runtime& runtime, const Text& text) {
  auto digits = strip(runtime, text, {}, true, true)->bytes;
  const bool minus = digits.starts_with('-');
  if (minus || digits.starts_with('+')) digits.erase(0, 1);
  for (size_t i = 0; i < digits.size(); ++i)
    if (digits[i] == '_' && (i == 0 || i + 1 == digits.size() ||
                             !std::isdigit(static_cast<unsigned char>(digits[i - 1])) ||
                             !std::isdigit(static_cast<unsigned char>(digits[i + 1]))))
      return {};
  std::erase(digits, '_');
  if (digits.empty() || digits[0] == '-' || digits.find('(') != std::string::npos) return {};
  double out = 0;
  const auto* end = digits.data() + digits.size();
  const auto [at, error] = std::from_chars(digits.data(), end, out);
  if (at != end || error == std::errc::invalid_argument) return {};
  if (error == std::errc::result_out_of_range) out = std::strtod(digits.c_str(), nullptr);
  return minus ? -out : out;
}

int64_t whole_of(Runtime& runtime, double real) {
  if (std::isnan(real)) runtime.fail("cannot convert float NaN to integer");
  if (std::abs(real) >= 9.2e18) runtime.fail("integers above 64 bits");
  return static_cast<int64_t>(real);
}

Value to_int(Runtime& runtime, const Value& value, CallArguments& arguments) {
  const auto bound = bind(runtime, "int", arguments, {"*default", "base"});
  const auto otherwise = bound[0].value_or(Value(int64_t{0}));
  if (const auto whole = integer(value)) return *whole;
  if (const auto* real = value.as<double>()) {
    if (std::isnan(*real)) return otherwise;
    return whole_of(runtime, *real);
  }
  if (const auto* text = value.text()) {
    if (const auto whole = parse_integer(runtime, *text, need_integer(runtime, bound[1], 10)))
      return *whole;
    const auto real = parse_float(runtime, *text);
    return real && std::isfinite(*real) ? Value(whole_of(runtime, *real)) : otherwise;
  }
  if (const auto* gone = value.as<Undefined>()) runtime.fail("{}", *gone->message);
  return otherwise;
}

Value to_float(Runtime& runtime, const Value& value, CallArguments& arguments) {
  const auto bound = bind(runtime, "float", arguments, {"*default"});
  const auto otherwise = bound[0].value_or(Value(0.0));
  if (const auto real = number(value)) return *real;
  if (const auto* text = value.text()) {
    const auto real = parse_float(runtime, *text);
    return real ? Value(*real) : otherwise;
  }
  if (const auto* gone = value.as<Undefined>()) runtime.fail("{}", *gone->message);
  return otherwise;
}

/// Python's round() of a float: correct in decimal, halves to even.
double round_float(double value, int64_t places) {
  if (!std::isfinite(value) || places > 300) return value;
  if (places >= 0) {
    char buffer[800];
    std::snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(places), value);
    return std::strtod(buffer, nullptr);
  }
  if (places < -300) return std::copysign(0.0, value);
  const double scale = std::pow(10.0, static_cast<double>(-places));
  return std::nearbyint(value / scale) * scale;
}

Value round(Runtime& runtime, const Value& value, CallArguments& arguments) {
  const auto bound = bind(runtime, "round", arguments, {"*precision", "method"});
  const int64_t places = need_integer(runtime, bound[0], 0);
  const auto method = bound[1] ? str(runtime, *bound[1])->bytes : "common";
  if (method != "common" && method != "ceil" && method != "floor")
    runtime.fail("method must be common, ceil or floor");
  const auto real = number(value);
  if (!real) runtime.fail("type {} cannot be rounded", type_name(value));
  if (method == "common") {
    if (const auto* exact = value.as<double>()) return round_float(*exact, places);
    const int64_t whole = *integer(value);
    if (places >= 0) return whole;
    if (places < -18) return int64_t{0};
    int64_t scale = 1;
    for (int64_t i = places; i < 0; ++i) scale *= 10;
    const int64_t rest = ((whole % scale) + scale) % scale,
                  even = (whole / scale - (whole < 0)) % 2;
    const bool up = rest > scale - rest || (rest == scale - rest && even != 0);
    return binary(runtime, "+", whole, up ? scale - rest : -rest);
  }
  const double scale = std::pow(10.0, static_cast<double>(places));
  const double scaled = *real * scale;
  if (!std::isfinite(scaled)) runtime.fail("{} cannot be rounded", float_repr(scaled));
  return (method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale;
}

Value absolute(Runtime& runtime, const Value& value, CallArguments& arguments) {
  bind(runtime, "abs", arguments, {});
  if (const auto* real = value.as<double>()) return std::abs(*real);
  const auto whole = integer(value);
  if (!whole) runtime.fail("bad operand type for abs(): '{}'", type_name(value));
  return *whole < 0 ? negate(runtime, *whole, false) : Value(*whole);
}

}  // namespace

const std::map<std::string_view, FilterFunction>& number_filters() {
  static const std::map<std::string_view, FilterFunction> filters = {
      {"int", to_int}, {"float", to_float}, {"round", round}, {"abs", absolute}};
  return filters;
}

}  // namespace weft::tokenizers::jinja
