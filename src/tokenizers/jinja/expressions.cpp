#include "tokenizers/jinja/expressions.hpp"

namespace weft::tokenizers::jinja {
namespace {

const char* kind_name(TokenKind kind) {
  switch (kind) {
    case TokenKind::data:
      return "text";
    case TokenKind::variable_begin:
      return "'{{'";
    case TokenKind::variable_end:
      return "'}}'";
    case TokenKind::block_begin:
      return "'{%'";
    case TokenKind::block_end:
      return "'%}'";
    case TokenKind::name:
      return "a name";
    case TokenKind::string:
      return "a string";
    case TokenKind::integer:
    case TokenKind::floating:
      return "a number";
    case TokenKind::op:
      return "an operator";
    case TokenKind::end:
      break;
  }
  return "the end of the template";
}

}  // namespace

std::string ExpressionParser::describe() const {
  const auto& token = current();
  if (token.kind == TokenKind::name || token.kind == TokenKind::op) return '\'' + token.text + '\'';
  return kind_name(token.kind);
}

const Token& ExpressionParser::expect(TokenKind kind) {
  if (current().kind != kind) fail("expected {}, found {}", kind_name(kind), describe());
  return next();
}
void ExpressionParser::expect_op(std::string_view op) {
  if (!skip_op(op)) fail("expected '{}', found {}", op, describe());
}
void ExpressionParser::expect_name(std::string_view name) {
  if (!skip_name(name)) fail("expected '{}', found {}", name, describe());
}

ExprPtr ExpressionParser::make(ExprKind kind, std::string text) {
  auto out = std::make_unique<Expr>();
  out->kind = kind;
  out->line = current().line;
  out->text = std::move(text);
  return out;
}

ExprPtr ExpressionParser::done(ExprPtr node) {
  const auto look = [&](const ExprPtr& part) {
    if (part) node->depth = std::max(node->depth, part->depth + 1);
  };
  for (const auto& part : node->operands) look(part);
  for (const auto& part : node->arguments.positional) look(part);
  for (const auto& [_, part] : node->arguments.named) look(part);
  look(node->arguments.list);
  look(node->arguments.mapping);
  if (node->depth > kMaxDepth) fail("an expression of more than {} levels", kMaxDepth);
  return node;
}

ExprPtr ExpressionParser::join(ExprKind kind, std::string text, ExprPtr left, ExprPtr right) {
  auto out = make(kind, std::move(text));
  out->operands.push_back(std::move(left));
  out->operands.push_back(std::move(right));
  return done(std::move(out));
}

ExprPtr ExpressionParser::expression(bool conditional) {
  const Nested guard(*this);
  const size_t unknown = unknown_.size();
  auto value = parse_or();
  while (conditional && is_name("if")) {
    unknown_.resize(unknown);
    auto out = make(ExprKind::condition);
    next();
    ++soft_;
    out->operands.push_back(parse_or());
    out->operands.push_back(std::move(value));
    out->operands.push_back(skip_name("else") ? expression() : nullptr);
    --soft_;
    value = done(std::move(out));
  }
  return value;
}

ExprPtr ExpressionParser::parse_or() {
  auto left = parse_and();
  while (skip_name("or")) left = join(ExprKind::logical_or, {}, std::move(left), parse_and());
  return left;
}

ExprPtr ExpressionParser::parse_and() {
  auto left = parse_not();
  while (skip_name("and")) left = join(ExprKind::logical_and, {}, std::move(left), parse_not());
  return left;
}

ExprPtr ExpressionParser::parse_not() {
  if (!is_name("not")) return parse_compare();
  const Nested guard(*this);
  auto out = make(ExprKind::logical_not);
  next();
  out->operands.push_back(parse_not());
  return done(std::move(out));
}

ExprPtr ExpressionParser::parse_compare() {
  auto first = parse_sum();
  ExprPtr chain;
  while (true) {
    std::string op;
    if (current().kind == TokenKind::op) {
      for (const auto* known : {"==", "!=", "<=", ">=", "<", ">"})
        if (is_op(known)) op = known;
    } else if (is_name("in")) {
      op = "in";
    } else if (is_name("not") && ahead().kind == TokenKind::name && ahead().text == "in") {
      op = "not in";
      next();
    }
    if (op.empty()) return chain ? done(std::move(chain)) : std::move(first);
    if (!chain) {
      chain = make(ExprKind::compare);
      chain->operands.push_back(std::move(first));
    }
    next();
    chain->operators.push_back(std::move(op));
    chain->operands.push_back(parse_sum());
  }
}

ExprPtr ExpressionParser::parse_sum() {
  auto left = parse_concat();
  while (is_op("+") || is_op("-")) {
    auto op = next().text;
    left = join(ExprKind::binary, std::move(op), std::move(left), parse_concat());
  }
  return left;
}

ExprPtr ExpressionParser::parse_concat() {
  auto first = parse_product();
  if (!is_op("~")) return first;
  auto out = make(ExprKind::concat);
  out->operands.push_back(std::move(first));
  while (skip_op("~")) out->operands.push_back(parse_product());
  return done(std::move(out));
}

ExprPtr ExpressionParser::parse_product() {
  auto left = parse_power();
  while (is_op("*") || is_op("/") || is_op("//") || is_op("%")) {
    auto op = next().text;
    left = join(ExprKind::binary, std::move(op), std::move(left), parse_power());
  }
  return left;
}

ExprPtr ExpressionParser::parse_power() {
  auto left = parse_unary();
  while (skip_op("**")) left = join(ExprKind::binary, "**", std::move(left), parse_unary());
  return left;
}

ExprPtr ExpressionParser::parse_unary(bool with_filters) {
  const Nested guard(*this);
  ExprPtr value;
  if (is_op("-") || is_op("+")) {
    value = make(is_op("-") ? ExprKind::negate : ExprKind::plus);
    next();
    value->operands.push_back(parse_unary(false));
    value = done(std::move(value));
  } else {
    value = primary();
  }
  value = postfix(std::move(value));
  return with_filters ? filtered(std::move(value)) : std::move(value);
}

}  // namespace weft::tokenizers::jinja
