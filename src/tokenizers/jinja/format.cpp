#include <algorithm>
#include <cmath>

#include "tokenizers/jinja/filters.hpp"
#include "tokenizers/unicode.hpp"

/// The `%` of strings: %s %r %d %i %x %X %o %f %e %g %c %%, with flags, width and precision.
namespace weft::tokenizers::jinja {
namespace {

struct Spec {
  bool left = false, zero = false, plus = false, space = false;
  int64_t width = 0, precision = -1;
  char kind = 0;
};

std::string number_text(Runtime& runtime, const Spec& spec, const Value& value) {
  std::string out;
  if (spec.kind == 'd' || spec.kind == 'i' || spec.kind == 'u') {
    const auto real = number(value);
    if (!real || !std::isfinite(*real) || std::abs(*real) > 9e18)
      runtime.fail("%d format: a number is required, not {}", type_name(value));
    const auto whole = integer(value);
    out = std::to_string(whole ? *whole : static_cast<int64_t>(*real));
  } else if (spec.kind == 'x' || spec.kind == 'X' || spec.kind == 'o') {
    const auto whole = integer(value);
    if (!whole) runtime.fail("%{} format: an integer is required", spec.kind);
    const auto size = static_cast<uint64_t>(*whole);
    const uint64_t magnitude = *whole < 0 ? 0 - size : size;
    out = spec.kind == 'x'   ? fmt::format("{:x}", magnitude)
          : spec.kind == 'X' ? fmt::format("{:X}", magnitude)
                             : fmt::format("{:o}", magnitude);
    if (*whole < 0) out.insert(0, 1, '-');
  } else {
    const auto real = number(value);
    if (!real) runtime.fail("must be real number, not {}", type_name(value));
    const int digits =
        spec.precision < 0 ? 6 : static_cast<int>(std::min<int64_t>(spec.precision, 400));
    const char format[] = {'%', '.', '*', spec.kind, 0};
    char buffer[1024];
    const int length = std::snprintf(buffer, sizeof buffer, format, digits, *real);
    out.assign(buffer, static_cast<size_t>(length));
  }
  if (out[0] != '-' && (spec.plus || spec.space)) out.insert(0, 1, spec.plus ? '+' : ' ');
  return out;
}

class Formatter {
 public:
  Formatter(Runtime& runtime, const Text& format, const std::vector<Value>& values,
            const Dict* named, bool all)
      : runtime_(runtime), format_(format), values_(values), named_(named), all_(all) {}

  String run() {
    const auto& bytes = format_.bytes;
    while (at_ < bytes.size()) {
      const auto percent = std::min(bytes.find('%', at_), bytes.size());
      out_.append(format_, at_, percent);
      at_ = percent;
      if (at_ < bytes.size()) conversion();
    }
    if (all_ && named_ == nullptr && used_ < values_.size())
      runtime_.fail("not all arguments converted during string formatting");
    runtime_.check_string(out_.size());
    return as_safe(out_.take(), format_.safe);
  }

 private:
  char next() {
    if (at_ >= format_.bytes.size()) runtime_.fail("incomplete format");
    return format_.bytes[at_++];
  }
  const Value& value() {
    if (used_ >= values_.size()) runtime_.fail("not enough arguments for format string");
    return values_[used_++];
  }
  int64_t count(char& c) {
    if (c == '*') {
      const auto given = integer(value());
      if (!given) runtime_.fail("* wants int");
      c = next();
      return std::clamp<int64_t>(*given, 0, kMaxString);
    }
    int64_t out = 0;
    for (; c >= '0' && c <= '9'; c = next())
      out = std::min<int64_t>(out * 10 + (c - '0'), kMaxString);
    return out;
  }

  void conversion() {
    ++at_;
    Spec spec;
    char c = next();
    const Value* chosen = nullptr;
    if (c == '(') {
      const auto close = format_.bytes.find(')', at_);
      if (close == std::string::npos) runtime_.fail("incomplete format key");
      if (named_ == nullptr) runtime_.fail("format requires a mapping");
      const auto key = format_.bytes.substr(at_, close - at_);
      chosen = named_->find(key);
      if (chosen == nullptr) runtime_.fail("format has no value for '{}'", key);
      at_ = close + 1;
      c = next();
    }
    for (;; c = next()) {
      if (c == '-')
        spec.left = true;
      else if (c == '0')
        spec.zero = true;
      else if (c == '+')
        spec.plus = true;
      else if (c == ' ')
        spec.space = true;
      else if (c != '#')
        break;
    }
    spec.width = count(c);
    if (c == '.') {
      c = next();
      spec.precision = count(c);
    }
    while (c == 'l' || c == 'h' || c == 'L') c = next();
    spec.kind = c;
    if (c == '%') return out_.append("%");
    write(spec, chosen != nullptr ? *chosen : value());
  }

  void write(const Spec& spec, const Value& given) {
    String text;
    if (spec.kind == 's' || spec.kind == 'r') {
      text = spec.kind == 's' ? str(runtime_, given) : make_string(repr(runtime_, given));
      if (format_.safe) text = escape_html(runtime_, text);
      if (spec.precision >= 0) {
        size_t end = 0;
        for (int64_t i = 0; i < spec.precision && end < text->bytes.size(); ++i)
          next_code_point(text->bytes, end);
        text = substring(*text, 0, end);
      }
    } else if (std::string_view("diuxXofFeEgG").find(spec.kind) != std::string_view::npos) {
      auto digits = number_text(runtime_, spec, given);
      if (spec.zero && !spec.left && static_cast<int64_t>(digits.size()) < spec.width) {
        const bool sign = digits[0] == '-' || digits[0] == '+' || digits[0] == ' ';
        runtime_.check_string(static_cast<size_t>(spec.width));
        digits.insert(sign ? 1 : 0, static_cast<size_t>(spec.width) - digits.size(), '0');
      }
      text = make_string(std::move(digits));
    } else {
      runtime_.fail("unsupported format character '{}'", spec.kind);
    }
    out_.append(*pad(runtime_, *text, spec.width, " ", spec.left ? 0 : 2));
    if (static_cast<int64_t>(out_.size()) > kMaxString) runtime_.check_string(out_.size());
  }

  Runtime& runtime_;
  const Text& format_;
  const std::vector<Value>& values_;
  const Dict* named_;
  bool all_;
  TextBuilder out_;
  size_t at_ = 0;
  size_t used_ = 0;
};

}  // namespace

String format_percent(Runtime& runtime, const Text& format, const std::vector<Value>& values,
                      const Dict* named, bool all) {
  return Formatter(runtime, format, values, named, all).run();
}

}  // namespace weft::tokenizers::jinja
