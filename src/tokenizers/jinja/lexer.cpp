#include "tokenizers/jinja/lexer.hpp"

#include <algorithm>

#include "core/fail.hpp"
#include "tokenizers/jinja/runtime.hpp"
#include "tokenizers/python_unicode.hpp"
#include "tokenizers/unicode.hpp"

namespace weft::tokenizers::jinja {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  Lexer(std::string_view source, const std::string& name) : name_(name) {
    if (source.size() > kMaxSource)
      weft::fail("chat template '{}': {} bytes, more than {}", name, source.size(), kMaxSource);
    if (valid_utf8_prefix(source) != source.size())
      weft::fail("chat template '{}': not valid UTF-8 at byte {}", name, valid_utf8_prefix(source));
    for (size_t i = 0; i < source.size(); ++i) {
      if (source[i] == '\r') {
        source_ += '\n';
        if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
      } else {
        source_ += source[i];
      }
    }
    if (source_.ends_with('\n')) source_.pop_back();
  }

  std::vector<Token> run() {
    while (at_ < source_.size()) read_data();
    push(TokenKind::end, {});
    return std::move(tokens_);
  }

 private:
  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    weft::fail("chat template '{}', line {}: {}", name_, line_,
               fmt::format(format, std::forward<Args>(args)...));
  }

  std::string_view rest() const { return std::string_view(source_).substr(at_); }
  bool looking_at(std::string_view text) const { return rest().starts_with(text); }
  void push(TokenKind kind, std::string text) { tokens_.push_back({kind, line_, std::move(text)}); }
  void advance(size_t bytes) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(at_ + bytes),
                                         '\n'));
    at_ += bytes;
    if (bytes > 0) line_starting_ = source_[at_ - 1] == '\n';
  }
  size_t space_from(size_t from) const {
    size_t at = from;
    while (at < source_.size()) {
      size_t next = at;
      if (!is_python_space(next_code_point(source_, next))) break;
      at = next;
    }
    return at;
  }
  /// The end of a tag at `from` ("-%}" and the space behind it, "%}" and a line break ...), or 0.
  size_t tag_end(size_t from, std::string_view close, bool trim, bool plus = true) const {
    const auto text = std::string_view(source_).substr(from);
    if (text.starts_with(close)) {
      const size_t end = from + close.size();
      return trim && end < source_.size() && source_[end] == '\n' ? end + 1 : end;
    }
    if (text.size() < 2 || !text.substr(1).starts_with(close)) return 0;
    if (text[0] == '-') return space_from(from + 1 + close.size());
    return plus && text[0] == '+' ? from + 1 + close.size() : 0;
  }

  /// Text up to a tag, without the white space that the tag takes away.
  void push_data(std::string_view text, char sign, bool variable) {
    if (sign == '-') {
      while (!text.empty()) {
        size_t at = text.size() - 1;
        while ((static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
        size_t next = at;
        if (!is_python_space(next_code_point(text, next))) break;
        text = text.substr(0, at);
      }
    } else if (sign != '+' && !variable) {
      const size_t line = text.rfind('\n') + 1;  // npos + 1 = 0
      const auto only_space = [&] {
        for (size_t at = line; at < text.size();)
          if (!is_python_space(next_code_point(text, at))) return false;
        return true;
      };
      if ((line > 0 || line_starting_) && only_space()) text = text.substr(0, line);
    }
    if (!text.empty()) push(TokenKind::data, std::string(text));
  }

  void read_data() {
    size_t open = at_;
    while (true) {
      open = source_.find('{', open);
      if (open == std::string::npos || open + 1 >= source_.size()) {
        push_data(rest(), '+', false);
        return advance(source_.size() - at_);
      }
      const char kind = source_[open + 1];
      if (kind == '{' || kind == '%' || kind == '#') break;
      ++open;
    }
    const char kind = source_[open + 1];
    size_t inside = open + 2;
    const char sign = inside < source_.size() && (source_[inside] == '-' || source_[inside] == '+')
                          ? source_[inside++]
                          : ' ';
    const auto data = std::string_view(source_).substr(at_, open - at_);
    push_data(data, sign, kind == '{');
    advance(inside - at_);
    if (kind == '#') return skip_comment();
    if (kind == '%' && read_raw()) return;
    push(kind == '{' ? TokenKind::variable_begin : TokenKind::block_begin, {});
    read_tag(kind == '{');
  }

  void skip_comment() {
    const size_t close = source_.find("#}", at_);
    if (close != std::string::npos) {
      const bool sign = close > at_ && (source_[close - 1] == '-' || source_[close - 1] == '+');
      return advance(tag_end(sign ? close - 1 : close, "#}", true) - at_);
    }
    fail("missing end of comment tag");
  }

  /// {% raw %} ... {% endraw %}; false where the tag is another one.
  bool read_raw() {
    size_t at = space_from(at_);
    if (!std::string_view(source_).substr(at).starts_with("raw")) return false;
    at = space_from(at + 3);
    const size_t begin = tag_end(at, "%}", false, false);
    if (begin == 0) return false;
    advance(begin - at_);
    for (size_t open = source_.find("{%", at_); open != std::string::npos;
         open = source_.find("{%", open + 2)) {
      size_t inside = open + 2;
      const char sign =
          inside < source_.size() && (source_[inside] == '-' || source_[inside] == '+')
              ? source_[inside++]
              : ' ';
      inside = space_from(inside);
      if (!std::string_view(source_).substr(inside).starts_with("endraw")) continue;
      const size_t end = tag_end(space_from(inside + 6), "%}", true);
      if (end == 0) continue;
      push_data(std::string_view(source_).substr(at_, open - at_), sign, false);
      advance(end - at_);
      return true;
    }
    fail("missing end of raw directive");
  }

  void read_tag(bool variable) {
    const std::string_view close = variable ? "}}" : "%}";
    std::string open;
    while (at_ < source_.size()) {
      if (open.empty())
        if (const size_t end = tag_end(at_, close, !variable, !variable)) {
          push(variable ? TokenKind::variable_end : TokenKind::block_end, {});
          return advance(end - at_);
        }
      if (const size_t end = space_from(at_); end != at_) {
        advance(end - at_);
        continue;
      }
      if (read_number() || read_name() || read_string()) continue;
      read_operator(open);
    }
  }

  /// Digits with single underscores between them, from `at`; the end, or `at` where there are none.
  size_t digits(size_t at, int base = 10) const {
    size_t end = at;
    while (end < source_.size()) {
      size_t next = end;
      if (source_[next] == '_' && end > at) ++next;
      if (next >= source_.size() || digit_value(source_[next]) >= base) break;
      end = next + 1;
    }
    return end;
  }

  bool read_number() {
    if (!is_digit(source_[at_])) return false;
    const auto take = [&](TokenKind kind, size_t end) {
      auto text = source_.substr(at_, end - at_);
      std::erase(text, '_');
      push(kind, std::move(text));
      advance(end - at_);
      return true;
    };
    if (at_ == 0 || source_[at_ - 1] != '.') {
      size_t end = digits(at_);
      bool floating = false;
      if (end < source_.size() && source_[end] == '.')
        if (const size_t fraction = digits(end + 1); fraction != end + 1)
          end = fraction, floating = true;
      if (end < source_.size() && (source_[end] | 0x20) == 'e') {
        size_t power = end + 1;
        if (power < source_.size() && (source_[power] == '+' || source_[power] == '-')) ++power;
        if (const size_t last = digits(power); last != power) end = last, floating = true;
      }
      if (floating) return take(TokenKind::floating, end);
    }
    if (source_[at_] == '0' && at_ + 1 < source_.size()) {
      const char letter = static_cast<char>(source_[at_ + 1] | 0x20);
      const int base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
      if (base != 0) {
        size_t first = at_ + 2;
        if (first < source_.size() && source_[first] == '_') ++first;
        if (const size_t end = digits(first, base); end != first)
          return take(TokenKind::integer, end);
      }
    }
    return take(TokenKind::integer, source_[at_] == '0' ? digits(at_, 1) : digits(at_));
  }

  bool read_name() {
    size_t end = at_;
    while (end < source_.size()) {
      size_t next = end;
      if (const char32_t c = next_code_point(source_, next); c != '_' && !is_word(c)) break;
      end = next;
    }
    if (end == at_) return false;
    push(TokenKind::name, source_.substr(at_, end - at_));
    advance(end - at_);
    return true;
  }

  bool read_string() {
    const char quote = source_[at_];
    if (quote != '\'' && quote != '"') return false;
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail("a string that begins with {} does not end", quote);
    push(TokenKind::string,
         unescape(std::string_view(source_).substr(at_ + 1, end - at_ - 1), name_, line_));
    advance(end + 1 - at_);
    return true;
  }

  void read_operator(std::string& open) {
    static constexpr std::string_view kOperators[] = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    const auto found = std::find_if(std::begin(kOperators), std::end(kOperators),
                                    [&](std::string_view op) { return looking_at(op); });
    if (found == std::end(kOperators)) fail("unexpected character '{}'", source_[at_]);
    if (*found == "{" || *found == "(" || *found == "[") open += (*found)[0];
    if (*found == "}" || *found == ")" || *found == "]") {
      const char opener = *found == "}" ? '{' : *found == ")" ? '(' : '[';
      if (open.empty() || open.back() != opener) fail("unexpected '{}'", *found);
      open.pop_back();
    }
    push(TokenKind::op, std::string(*found));
    advance(found->size());
  }

  const std::string& name_;
  std::string source_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source, const std::string& name) {
  return Lexer(source, name).run();
}

}  // namespace weft::tokenizers::jinja
