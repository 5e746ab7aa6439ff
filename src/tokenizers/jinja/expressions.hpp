#pragma once

#include <algorithm>
#include <set>

#include "core/fail.hpp"
#include "tokenizers/jinja/ast.hpp"
#include "tokenizers/jinja/lexer.hpp"

namespace weft::tokenizers::jinja {

/// Expressions, in the precedence of jinja2's parser.
class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, const std::string& name)
      : tokens_(std::move(tokens)), name_(name) {}

 protected:
  static constexpr int kMaxNesting = 150;
  static constexpr int kMaxDepth = 600;  ///< of a tree; a + b + c + ... is one as well

  /// Guards the stack, here and where the tree is walked.
  class Nested {
   public:
    explicit Nested(ExpressionParser& parser) : parser_(parser) {
      if (++parser_.nesting_ > kMaxNesting) parser_.fail("nested more than {} deep", kMaxNesting);
    }
    ~Nested() { --parser_.nesting_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

   private:
    ExpressionParser& parser_;
  };

  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    weft::fail("chat template '{}', line {}: {}", name_, tokens_[at_].line,
               fmt::format(format, std::forward<Args>(args)...));
  }

  void check_known(bool known, const char* what, const std::string& name) {
    if (!known && soft_ == 0)
      unknown_.push_back(fmt::format("chat template '{}', line {}: no {} named '{}'", name_,
                                     tokens_[at_].line, what, name));
  }

  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& next() {
    const auto& token = tokens_[at_];
    if (token.kind != TokenKind::end) ++at_;
    return token;
  }
  std::string describe() const;
  bool is_op(std::string_view op) const {
    return current().kind == TokenKind::op && current().text == op;
  }
  bool is_name(std::string_view name) const {
    return current().kind == TokenKind::name && current().text == name;
  }
  bool skip_op(std::string_view op) { return is_op(op) && (next(), true); }
  bool skip_name(std::string_view name) { return is_name(name) && (next(), true); }
  const Token& expect(TokenKind kind);
  void expect_op(std::string_view op);
  void expect_name(std::string_view name);

  ExprPtr expression(bool conditional = true);
  /// One expression, or a tuple where commas follow; `end` is a name that ends it too.
  ExprPtr tuple_or_expression(bool conditional = true, std::string_view end = {},
                              bool parentheses = false);
  ExprPtr filters(ExprPtr value, bool at_name);
  Target target(std::initializer_list<std::string_view> ends, bool attributes);

  /// Errors of filters and tests that there are none of, outside of what a condition guards.
  std::vector<std::string> unknown_ = {};
  int soft_ = 0;  ///< > 0 where jinja2 reports unknown filters only when they are reached
  std::set<std::string, std::less<>> names_;  ///< that are read

 private:
  ExprPtr make(ExprKind kind, std::string text = {});
  /// Measures a node that has its operands.
  ExprPtr done(ExprPtr node);
  ExprPtr join(ExprKind kind, std::string text, ExprPtr left, ExprPtr right);
  ExprPtr parse_or();
  ExprPtr parse_and();
  ExprPtr parse_not();
  ExprPtr parse_compare();
  ExprPtr parse_sum();
  ExprPtr parse_concat();
  ExprPtr parse_product();
  ExprPtr parse_power();
  ExprPtr parse_unary(bool with_filters = true);
  ExprPtr primary();
  ExprPtr postfix(ExprPtr value);
  ExprPtr filtered(ExprPtr value);
  ExprPtr test(ExprPtr value);
  ExprPtr subscript(ExprPtr value);
  ExprPtr index_or_slice(ExprPtr object);
  ExprPtr list();
  ExprPtr dict();
  Arguments arguments();
  std::string dotted_name();
  bool tuple_ends(std::string_view end) const;
  Target simple_target(bool attributes);

  std::vector<Token> tokens_;
  const std::string& name_;
  size_t at_ = 0;
  int nesting_ = 0;
};

}  // namespace weft::tokenizers::jinja
