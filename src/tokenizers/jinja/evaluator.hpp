#pragma once

#include "tokenizers/jinja/ast.hpp"
#include "tokenizers/jinja/runtime.hpp"

namespace weft::tokenizers::jinja {

/// Runs the tree of a template once.
class Evaluator {
 public:
  explicit Evaluator(Runtime& runtime) : runtime_(runtime) {}
  void run(const Body& body, const ScopePtr& scope, TextBuilder& out) { exec(body, scope, out); }

  /// The text of a macro's call, or of a {% call %} block's caller().
  Value call_macro(const MacroCode& code, const Body& body, const ScopePtr& scope,
                   CallArguments& arguments);

 private:
  enum class Flow { next, break_, continue_ };

  Flow exec(const Body& body, const ScopePtr& scope, TextBuilder& out);
  Flow exec(const Stmt& stmt, const ScopePtr& scope, TextBuilder& out);
  Flow exec_if(const Stmt& stmt, const ScopePtr& scope, TextBuilder& out);
  Flow exec_for(const Stmt& stmt, const ScopePtr& scope, TextBuilder& out);
  Flow exec_block(const Stmt& stmt, const ScopePtr& scope, TextBuilder& out);
  void exec_call(const Stmt& stmt, const ScopePtr& scope, TextBuilder& out);
  void write(const Value& value, TextBuilder& out);
  void assign(const Target& target, const Value& value, const ScopePtr& scope);
  Value make_macro(const Stmt& stmt, const ScopePtr& scope);

  Value eval(const Expr& expr, const ScopePtr& scope, const Value* block = nullptr);
  Value eval_list(const Expr& expr, const ScopePtr& scope);
  Value eval_dict(const Expr& expr, const ScopePtr& scope);
  Value eval_slice(const Expr& expr, const ScopePtr& scope);
  Value eval_compare(const Expr& expr, const ScopePtr& scope);
  Value eval_concat(const Expr& expr, const ScopePtr& scope);
  Value eval_condition(const Expr& expr, const ScopePtr& scope);
  Value eval_filter(const Expr& expr, const ScopePtr& scope, const Value* block);
  Value eval_test(const Expr& expr, const ScopePtr& scope);
  Value eval_call(const Expr& expr, const ScopePtr& scope, const Value* caller = nullptr);
  CallArguments arguments(const Arguments& given, const ScopePtr& scope);
  Value look_up(const std::string& name, const ScopePtr& scope) const;

  Runtime& runtime_;
};

}  // namespace weft::tokenizers::jinja
