#include "tokenizers/jinja/evaluator.hpp"

/// Expressions.
namespace weft::tokenizers::jinja {

Value Evaluator::eval(const Expr& expr, const ScopePtr& scope, const Value* block) {
  const Deeper guard(runtime_);
  runtime_.line = expr.line;
  runtime_.spend(1);
  const auto operand = [&](size_t i) { return eval(*expr.operands[i], scope); };
  switch (expr.kind) {
    case ExprKind::constant:
      return expr.value;
    case ExprKind::name:
      return look_up(expr.text, scope);
    case ExprKind::list:
    case ExprKind::tuple:
      return eval_list(expr, scope);
    case ExprKind::dict:
      return eval_dict(expr, scope);
    case ExprKind::get_attribute:
      return get_attribute(runtime_, operand(0), expr.text);
    case ExprKind::get_item: {
      const auto object = operand(0);
      return get_item(runtime_, object, operand(1));
    }
    case ExprKind::slice:
      return eval_slice(expr, scope);
    case ExprKind::call:
      return eval_call(expr, scope);
    case ExprKind::filter:
      return eval_filter(expr, scope, block);
    case ExprKind::test:
      return eval_test(expr, scope);
    case ExprKind::negate:
      return negate(runtime_, operand(0), false);
    case ExprKind::plus:
      return negate(runtime_, operand(0), true);
    case ExprKind::logical_not:
      return !truth(operand(0));
    case ExprKind::logical_and: {
      auto left = operand(0);
      return truth(left) ? operand(1) : left;
    }
    case ExprKind::logical_or: {
      auto left = operand(0);
      return truth(left) ? left : operand(1);
    }
    case ExprKind::binary: {
      const auto left = operand(0);
      return binary(runtime_, expr.text, left, operand(1));
    }
    case ExprKind::concat:
      return eval_concat(expr, scope);
    case ExprKind::compare:
      return eval_compare(expr, scope);
    case ExprKind::condition:
      return eval_condition(expr, scope);
  }
  return {};
}

Value Evaluator::eval_list(const Expr& expr, const ScopePtr& scope) {
  std::vector<Value> values;
  for (const auto& operand : expr.operands) values.push_back(eval(*operand, scope));
  const auto kind = expr.kind == ExprKind::tuple ? SequenceKind::tuple : SequenceKind::list;
  return make_sequence(runtime_, kind, std::move(values));
}

Value Evaluator::eval_dict(const Expr& expr, const ScopePtr& scope) {
  auto dict = std::make_shared<Dict>();
  for (size_t i = 0; i < expr.operands.size(); i += 2) {
    auto key = eval(*expr.operands[i], scope);
    insert(runtime_, *dict, std::move(key), eval(*expr.operands[i + 1], scope));
  }
  return dict;
}

Value Evaluator::eval_slice(const Expr& expr, const ScopePtr& scope) {
  const auto object = eval(*expr.operands[0], scope);
  const auto part = [&](size_t i) {
    return expr.operands[i] ? eval(*expr.operands[i], scope) : Value();
  };
  const auto start = part(1), stop = part(2), step = part(3);
  return get_slice(runtime_, object, start, stop, step);
}

Value Evaluator::eval_compare(const Expr& expr, const ScopePtr& scope) {
  auto left = eval(*expr.operands[0], scope);
  for (size_t i = 0; i < expr.operators.size(); ++i) {
    auto right = eval(*expr.operands[i + 1], scope);
    if (!compare(runtime_, expr.operators[i], left, right)) return false;
    left = std::move(right);
  }
  return true;
}

Value Evaluator::eval_concat(const Expr& expr, const ScopePtr& scope) {
  TextBuilder out;
  for (const auto& operand : expr.operands) {
    const auto text = str(runtime_, eval(*operand, scope));
    runtime_.check_string(out.size() + text->bytes.size());
    out.append(*text);
  }
  return out.take();
}

Value Evaluator::eval_condition(const Expr& expr, const ScopePtr& scope) {
  if (truth(eval(*expr.operands[0], scope))) return eval(*expr.operands[1], scope);
  if (expr.operands[2]) return eval(*expr.operands[2], scope);
  return undefined("the inline if-expression evaluated to false and no else section was defined");
}

Value Evaluator::eval_filter(const Expr& expr, const ScopePtr& scope, const Value* block) {
  // A chain of filters ends, inside, at the text of the block.
  const auto value =
      expr.operands[0] ? eval(*expr.operands[0], scope, block) : (block ? *block : Value());
  auto given = arguments(expr.arguments, scope);
  runtime_.line = expr.line;
  return apply_filter(runtime_, expr.text, value, given);
}

Value Evaluator::eval_test(const Expr& expr, const ScopePtr& scope) {
  const auto value = eval(*expr.operands[0], scope);
  auto given = arguments(expr.arguments, scope);
  return apply_test(runtime_, expr.text, value, given);
}

Value Evaluator::eval_call(const Expr& expr, const ScopePtr& scope, const Value* caller) {
  const auto function = eval(*expr.operands[0], scope);
  auto given = arguments(expr.arguments, scope);
  if (caller != nullptr) given.named.emplace_back("caller", *caller);
  runtime_.line = expr.line;
  return call(runtime_, function, given);
}

CallArguments Evaluator::arguments(const Arguments& given, const ScopePtr& scope) {
  CallArguments out;
  for (const auto& value : given.positional) out.positional.push_back(eval(*value, scope));
  for (const auto& [name, value] : given.named) {
    runtime_.spend(out.named.size());
    for (const auto& [other, _] : out.named)
      if (other == name) runtime_.fail("keyword argument repeated: {}", name);
    out.named.emplace_back(name, eval(*value, scope));
  }
  if (given.list)
    for (auto& value : iterate(runtime_, eval(*given.list, scope)))
      out.positional.push_back(std::move(value));
  if (given.mapping) {
    const auto mapping = eval(*given.mapping, scope);
    if (mapping.dict() == nullptr) runtime_.fail("argument after ** must be a mapping");
    for (const auto& [key, value] : mapping.dict()->members) {
      if (key.text() == nullptr) runtime_.fail("keywords must be strings");
      out.named.emplace_back(key.text()->bytes, value);
    }
  }
  return out;
}

}  // namespace weft::tokenizers::jinja
