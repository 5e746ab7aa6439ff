#include "tokenizers/jinja/expressions.hpp"

#include <charconv>
#include <cstdlib>

#include "tokenizers/jinja/runtime.hpp"

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

ExprPtr ExpressionParser::primary() {
  auto out = make(ExprKind::constant);
  const auto& token = current();
  switch (token.kind) {
    case TokenKind::name:
      next();
      if (token.text == "true" || token.text == "True") {
        out->value = true;
      } else if (token.text == "false" || token.text == "False") {
        out->value = false;
      } else if (token.text != "none" && token.text != "None") {
        out->kind = ExprKind::name;
        out->text = token.text;
        names_.insert(token.text);
      }
      return out;
    case TokenKind::string: {
      std::string text;
      while (current().kind == TokenKind::string) text += next().text;
      out->value = string_value(std::move(text));
      return out;
    }
    case TokenKind::integer: {
      const auto& text = next().text;
      const char letter = text.size() > 1 ? static_cast<char>(text[1] | 0x20) : ' ';
      const int base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
      int64_t whole = 0;
      const auto* begin = text.data() + (base == 10 ? 0 : 2);
      const auto [at, error] = std::from_chars(begin, text.data() + text.size(), whole, base);
      if (error != std::errc()) fail("the integer {} needs more than 64 bits", text);
      out->value = whole;
      return out;
    }
    case TokenKind::floating:
      out->value = std::strtod(next().text.c_str(), nullptr);
      return out;
    case TokenKind::op:
      if (skip_op("(")) {
        auto inside = tuple_or_expression(true, {}, true);
        expect_op(")");
        return inside;
      }
      if (is_op("[")) return list();
      if (is_op("{")) return dict();
      [[fallthrough]];
    default:
      fail("unexpected {}", describe());
  }
}

bool ExpressionParser::tuple_ends(std::string_view end) const {
  return current().kind == TokenKind::variable_end || current().kind == TokenKind::block_end ||
         is_op(")") || (!end.empty() && is_name(end));
}

ExprPtr ExpressionParser::tuple_or_expression(bool conditional, std::string_view end,
                                              bool parentheses) {
  auto out = make(ExprKind::tuple);
  bool tuple = false;
  while (true) {
    if (!out->operands.empty()) expect_op(",");
    if (tuple_ends(end)) break;
    out->operands.push_back(expression(conditional));
    if (!is_op(",")) break;
    tuple = true;
  }
  if (!tuple && !out->operands.empty()) return std::move(out->operands[0]);
  if (!tuple && !parentheses) fail("expected an expression, found {}", describe());
  return done(std::move(out));
}

ExprPtr ExpressionParser::list() {
  auto out = make(ExprKind::list);
  expect_op("[");
  while (!is_op("]")) {
    if (!out->operands.empty()) expect_op(",");
    if (is_op("]")) break;
    out->operands.push_back(expression());
  }
  next();
  return done(std::move(out));
}

ExprPtr ExpressionParser::dict() {
  auto out = make(ExprKind::dict);
  expect_op("{");
  while (!is_op("}")) {
    if (!out->operands.empty()) expect_op(",");
    if (is_op("}")) break;
    out->operands.push_back(expression());
    expect_op(":");
    out->operands.push_back(expression());
  }
  next();
  return done(std::move(out));
}

ExprPtr ExpressionParser::postfix(ExprPtr value) {
  while (is_op(".") || is_op("[") || is_op("(")) {
    if (!is_op("(")) {
      value = subscript(std::move(value));
      continue;
    }
    auto out = make(ExprKind::call);
    out->operands.push_back(std::move(value));
    out->arguments = arguments();
    value = done(std::move(out));
  }
  return value;
}

ExprPtr ExpressionParser::filtered(ExprPtr value) {
  while (true) {
    if (is_op("|")) {
      value = filters(std::move(value), false);
    } else if (is_name("is")) {
      value = test(std::move(value));
    } else if (is_op("(")) {
      auto out = make(ExprKind::call);
      out->operands.push_back(std::move(value));
      out->arguments = arguments();
      value = done(std::move(out));
    } else {
      return value;
    }
  }
}

std::string ExpressionParser::dotted_name() {
  auto name = expect(TokenKind::name).text;
  while (skip_op(".")) name += '.' + expect(TokenKind::name).text;
  return name;
}

ExprPtr ExpressionParser::filters(ExprPtr value, bool at_name) {
  while (at_name || skip_op("|")) {
    at_name = false;
    auto out = make(ExprKind::filter);
    out->text = dotted_name();
    check_known(find_filter(out->text) != nullptr, "filter", out->text);
    out->operands.push_back(std::move(value));
    if (is_op("(")) out->arguments = arguments();
    value = done(std::move(out));
  }
  return value;
}

ExprPtr ExpressionParser::test(ExprPtr value) {
  auto out = make(ExprKind::test);
  next();
  const bool negated = skip_name("not");
  out->text = dotted_name();
  check_known(find_test(out->text) != nullptr, "test", out->text);
  out->operands.push_back(std::move(value));
  if (is_op("(")) {
    out->arguments = arguments();
  } else if (const auto kind = current().kind;
             (kind == TokenKind::name && !is_name("else") && !is_name("or") && !is_name("and")) ||
             kind == TokenKind::string || kind == TokenKind::integer ||
             kind == TokenKind::floating || is_op("[") || is_op("{")) {
    if (is_name("is")) fail("tests cannot be chained with 'is'");
    out->arguments.positional.push_back(postfix(primary()));
  }
  out = done(std::move(out));
  if (!negated) return out;
  auto inverse = make(ExprKind::logical_not);
  inverse->operands.push_back(std::move(out));
  return done(std::move(inverse));
}

ExprPtr ExpressionParser::subscript(ExprPtr value) {
  if (skip_op("[")) return index_or_slice(std::move(value));
  expect_op(".");
  if (current().kind == TokenKind::name) {
    auto out = make(ExprKind::get_attribute, current().text);
    next();
    out->operands.push_back(std::move(value));
    return done(std::move(out));
  }
  if (current().kind != TokenKind::integer)
    fail("expected a name or a number, found {}", describe());
  return join(ExprKind::get_item, {}, std::move(value), primary());
}

ExprPtr ExpressionParser::index_or_slice(ExprPtr object) {
  if (is_op("]")) {
    next();
    return join(ExprKind::get_item, {}, std::move(object), make(ExprKind::tuple));
  }
  auto out = make(ExprKind::slice);
  out->operands.push_back(std::move(object));
  out->operands.push_back(is_op(":") ? nullptr : expression());
  if (!is_op(":")) {
    out->kind = ExprKind::get_item;
    if (is_op(",")) {
      auto key = make(ExprKind::tuple);
      key->operands.push_back(std::move(out->operands[1]));
      while (skip_op(",")) key->operands.push_back(expression());
      out->operands[1] = done(std::move(key));
    }
  } else {
    for (int i = 0; i < 2; ++i) {
      const bool more = skip_op(":");
      out->operands.push_back(more && !is_op(":") && !is_op("]") ? expression() : nullptr);
    }
  }
  expect_op("]");
  return done(std::move(out));
}

Arguments ExpressionParser::arguments() {
  Arguments out;
  expect_op("(");
  bool first = true;
  while (!is_op(")")) {
    if (!first) {
      expect_op(",");
      if (is_op(")")) break;
    }
    first = false;
    const auto ensure = [&](bool valid) {
      if (!valid) fail("arguments in a wrong order");
    };
    if (is_op("*")) {
      ensure(!out.list && !out.mapping);
      next();
      out.list = expression();
    } else if (is_op("**")) {
      ensure(!out.mapping);
      next();
      out.mapping = expression();
    } else if (current().kind == TokenKind::name && ahead().kind == TokenKind::op &&
               ahead().text == "=") {
      ensure(!out.mapping);
      auto name = next().text;
      next();
      out.named.emplace_back(std::move(name), expression());
    } else {
      ensure(!out.list && !out.mapping && out.named.empty());
      out.positional.push_back(expression());
    }
  }
  next();
  return out;
}

Target ExpressionParser::simple_target(bool attributes) {
  const Nested guard(*this);
  Target out;
  if (skip_op("(")) {
    out = target({}, false);
    expect_op(")");
    return out;
  }
  out.name = expect(TokenKind::name).text;
  for (const auto* constant : {"true", "false", "none", "True", "False", "None"})
    if (out.name == constant) fail("'{}' cannot be assigned to", out.name);
  if (attributes && skip_op(".")) {
    out.kind = Target::Kind::attribute;
    out.attribute = expect(TokenKind::name).text;
  }
  return out;
}

Target ExpressionParser::target(std::initializer_list<std::string_view> ends, bool attributes) {
  Target out{.kind = Target::Kind::tuple};
  bool tuple = false;
  while (true) {
    if (!out.items.empty()) expect_op(",");
    const bool ended = tuple_ends({}) || std::any_of(ends.begin(), ends.end(),
                                                     [&](auto end) { return is_name(end); });
    if (ended) break;
    out.items.push_back(simple_target(attributes));
    if (!is_op(",")) break;
    tuple = true;
  }
  if (out.items.empty()) fail("expected a name to assign to, found {}", describe());
  if (tuple) return out;
  auto only = std::move(out.items[0]);
  return only;
}

}  // namespace weft::tokenizers::jinja
