#include <charconv>
#include <cstdlib>

#include "tokenizers/jinja/expressions.hpp"
#include "tokenizers/jinja/runtime.hpp"

/// Operands, what follows them, and what is assigned to.
namespace weft::tokenizers::jinja {

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
