#include "tokenizers/jinja/evaluator.hpp"

namespace weft::tokenizers::jinja {
namespace {

class Macro : public Object {
 public:
  Macro(Evaluator& evaluator, const MacroCode& code, const Body& body, ScopePtr scope)
      : evaluator_(evaluator), code_(code), body_(body), scope_(std::move(scope)) {}
  std::string repr(Runtime&) const override { return "<Macro '" + code_.name + "'>"; }
  const char* type_name() const override { return "Macro"; }
  bool callable() const override { return true; }
  std::optional<Value> attribute(Runtime&, std::string_view name) override {
    if (name == "name") return string_value(code_.name);
    return {};
  }
  Value call(Runtime&, CallArguments& arguments) override {
    return evaluator_.call_macro(code_, body_, scope_, arguments);
  }

 private:
  Evaluator& evaluator_;
  const MacroCode& code_;
  const Body& body_;
  ScopePtr scope_;
};

/// The variable `loop`.
class Loop : public Object, public std::enable_shared_from_this<Loop> {
 public:
  explicit Loop(std::vector<Value> items) : items(std::move(items)) {
    for (const auto& item : this->items) depth = std::max(depth, jinja::depth(item));
    ++depth;
  }
  std::string repr(Runtime&) const override {
    return fmt::format("<LoopContext {}/{}>", index0 + 1, items.size());
  }
  const char* type_name() const override { return "LoopContext"; }
  bool callable() const override { return true; }
  Value call(Runtime& runtime, CallArguments&) override {
    runtime.fail("recursive loops are not supported");
  }
  std::optional<Value> attribute(Runtime&, std::string_view name) override;

  std::vector<Value> items;
  size_t index0 = 0;
  int level = 1;
  std::optional<Value> changed = {};
};

class LoopMethod : public Object {
 public:
  LoopMethod(std::shared_ptr<Loop> loop, bool cycle) : loop_(std::move(loop)), cycle_(cycle) {
    depth = loop_->depth + 1;
  }
  std::string repr(Runtime&) const override { return "<bound method of LoopContext>"; }
  const char* type_name() const override { return "method"; }
  bool callable() const override { return true; }
  Value call(Runtime& runtime, CallArguments& arguments) override {
    auto& values = arguments.positional;
    if (!arguments.named.empty()) runtime.fail("unexpected keyword argument");
    if (cycle_) {
      if (values.empty()) runtime.fail("no items for cycling given");
      return values[loop_->index0 % values.size()];
    }
    const auto now = make_sequence(runtime, SequenceKind::tuple, std::move(values));
    if (depth_of(now) >= kMaxValueDepth - 1) runtime.fail("values are nested too deeply");
    const bool differs = !loop_->changed || !equal(runtime, *loop_->changed, now);
    if (differs) loop_->changed = now;
    return differs;
  }

 private:
  static int depth_of(const Value& value) { return jinja::depth(value); }
  std::shared_ptr<Loop> loop_;
  bool cycle_;
};

std::optional<Value> Loop::attribute(Runtime&, std::string_view name) {
  const auto count = static_cast<int64_t>(items.size()), at = static_cast<int64_t>(index0);
  if (name == "index") return at + 1;
  if (name == "index0") return at;
  if (name == "first") return at == 0;
  if (name == "last") return at + 1 == count;
  if (name == "length") return count;
  if (name == "revindex") return count - at;
  if (name == "revindex0") return count - at - 1;
  if (name == "depth") return int64_t{level};
  if (name == "depth0") return int64_t{level} - 1;
  if (name == "previtem")
    return at == 0 ? undefined("there is no previous item") : items[index0 - 1];
  if (name == "nextitem")
    return at + 1 == count ? undefined("there is no next item") : items[index0 + 1];
  if (name == "cycle" || name == "changed")
    return std::static_pointer_cast<Object>(
        std::make_shared<LoopMethod>(shared_from_this(), name == "cycle"));
  return {};
}

ScopePtr inside(const ScopePtr& scope) {
  auto out = std::make_shared<Scope>();
  out->parent = scope;
  return out;
}

}  // namespace

Evaluator::Flow Evaluator::exec(const Body& body, const ScopePtr& scope, TextBuilder& out) {
  const Deeper guard(runtime_);
  for (const auto& stmt : body)
    if (const auto flow = exec(*stmt, scope, out); flow != Flow::next) return flow;
  return Flow::next;
}

void Evaluator::write(const Value& value, TextBuilder& out) {
  const auto text = str(runtime_, value);
  runtime_.spend(text->bytes.size());
  if (static_cast<int64_t>(out.size() + text->bytes.size()) > kMaxString)
    runtime_.check_string(out.size() + text->bytes.size());
  out.append(*text);
}

Evaluator::Flow Evaluator::exec(const Stmt& stmt, const ScopePtr& scope, TextBuilder& out) {
  runtime_.line = stmt.line;
  runtime_.spend(1);
  switch (stmt.kind) {
    case StmtKind::data:
      write(stmt.text, out);
      break;
    case StmtKind::print:
      for (const auto& expr : stmt.exprs) write(eval(*expr, scope), out);
      break;
    case StmtKind::if_:
      return exec_if(stmt, scope, out);
    case StmtKind::for_:
      return exec_for(stmt, scope, out);
    case StmtKind::set:
      assign(stmt.targets[0], eval(*stmt.exprs[0], scope), scope);
      break;
    case StmtKind::macro:
      scope->variables[stmt.code.name] = make_macro(stmt, scope);
      break;
    case StmtKind::call:
      exec_call(stmt, scope, out);
      break;
    case StmtKind::break_:
      return Flow::break_;
    case StmtKind::continue_:
      return Flow::continue_;
    default:
      return exec_block(stmt, scope, out);
  }
  return Flow::next;
}

/// Blocks with a scope of their own: set, filter, with, generation.
Evaluator::Flow Evaluator::exec_block(const Stmt& stmt, const ScopePtr& scope, TextBuilder& out) {
  const auto within = inside(scope);
  if (stmt.kind == StmtKind::with) {
    for (size_t i = 0; i < stmt.targets.size(); ++i)
      assign(stmt.targets[i], eval(*stmt.exprs[i], scope), within);
    return exec(stmt.bodies[0], within, out);
  }
  if (stmt.kind == StmtKind::generation) {
    const size_t begin = out.size();
    const int block = runtime_.generation_blocks++;
    exec(stmt.bodies[0], within, out);
    out.mark_generation(begin, block);
    return Flow::next;
  }
  TextBuilder inner;
  const auto flow = exec(stmt.bodies[0], within, inner);
  if (flow != Flow::next) return flow;
  Value text = inner.take();
  if (stmt.kind == StmtKind::filter) {
    text = eval(*stmt.exprs[0], scope, &text);
    if (text.text() == nullptr)
      runtime_.fail("the filter of a block must make a string, made {}", type_name(text));
    write(text, out);
  } else {
    if (stmt.exprs[0]) text = eval(*stmt.exprs[0], scope, &text);
    assign(stmt.targets[0], text, scope);
  }
  return Flow::next;
}

Evaluator::Flow Evaluator::exec_if(const Stmt& stmt, const ScopePtr& scope, TextBuilder& out) {
  for (size_t i = 0; i < stmt.exprs.size(); ++i)
    if (truth(eval(*stmt.exprs[i], scope))) return exec(stmt.bodies[i], scope, out);
  if (stmt.bodies.size() > stmt.exprs.size()) return exec(stmt.bodies.back(), scope, out);
  return Flow::next;
}

Evaluator::Flow Evaluator::exec_for(const Stmt& stmt, const ScopePtr& scope, TextBuilder& out) {
  auto items = iterate(runtime_, eval(*stmt.exprs[0], scope));
  if (stmt.exprs[1]) {
    std::vector<Value> kept;
    for (auto& item : items) {
      runtime_.count_iteration();
      const auto within = inside(scope);
      assign(stmt.targets[0], item, within);
      if (truth(eval(*stmt.exprs[1], within))) kept.push_back(std::move(item));
    }
    items = std::move(kept);
  }
  if (items.empty())
    return stmt.bodies.size() > 1 ? exec(stmt.bodies[1], inside(scope), out) : Flow::next;
  const auto loop = std::make_shared<Loop>(std::move(items));
  if (loop->depth > kMaxValueDepth) runtime_.fail("values are nested too deeply");
  for (; loop->index0 < loop->items.size(); ++loop->index0) {
    runtime_.count_iteration();
    const auto& item = loop->items[loop->index0];
    const auto within = inside(scope);
    within->variables["loop"] = std::static_pointer_cast<Object>(loop);
    assign(stmt.targets[0], item, within);
    const size_t begin = out.size();
    const auto flow = exec(stmt.bodies[0], within, out);
    if (const auto* dict = item.dict())
      if (const auto message = runtime_.messages.find(dict); message != runtime_.messages.end())
        out.mark_turn(begin, message->second);
    if (flow == Flow::break_) break;
  }
  return Flow::next;
}

void Evaluator::exec_call(const Stmt& stmt, const ScopePtr& scope, TextBuilder& out) {
  const auto caller = make_macro(stmt, scope);
  write(eval_call(*stmt.exprs[0], scope, &caller), out);
}

Value Evaluator::make_macro(const Stmt& stmt, const ScopePtr& scope) {
  runtime_.keep(scope);
  return std::static_pointer_cast<Object>(
      std::make_shared<Macro>(*this, stmt.code, stmt.bodies[0], scope));
}

Value Evaluator::call_macro(const MacroCode& code, const Body& body, const ScopePtr& scope,
                            CallArguments& arguments) {
  const Deeper guard(runtime_);
  const auto within = inside(scope);
  const size_t count = code.parameters.size(), given = arguments.positional.size();
  auto& named = arguments.named;
  const auto take = [&](const std::string& name) -> std::optional<Value> {
    runtime_.spend(named.size());
    for (auto at = named.begin(); at != named.end(); ++at)
      if (at->first == name) {
        auto value = std::move(at->second);
        named.erase(at);
        return value;
      }
    return {};
  };
  bool takes_caller = false;
  for (size_t i = 0; i < count; ++i) {
    const auto& name = code.parameters[i];
    takes_caller |= name == "caller";
    std::optional<Value> value;
    if (i < given)
      value = arguments.positional[i];
    else
      value = take(name);
    const size_t without = count - code.defaults.size();
    if (!value && i >= without) value = eval(*code.defaults[i - without], within);
    within->variables[name] =
        value ? *value : undefined(fmt::format("parameter '{}' was not provided", name));
  }
  if (code.uses_caller && !takes_caller)
    within->variables["caller"] = take("caller").value_or(undefined("No caller defined"));
  if (code.uses_kwargs) {
    auto rest = std::make_shared<Dict>();
    for (auto& [name, value] : named) insert(runtime_, *rest, string_value(name), value);
    within->variables["kwargs"] = rest;
  } else if (!named.empty()) {
    runtime_.fail("macro '{}' takes no keyword argument '{}'", code.name, named[0].first);
  }
  if (code.uses_varargs) {
    std::vector<Value> rest;
    for (size_t i = count; i < given; ++i) rest.push_back(arguments.positional[i]);
    within->variables["varargs"] = make_sequence(runtime_, SequenceKind::tuple, std::move(rest));
  } else if (given > count) {
    runtime_.fail("macro '{}' takes not more than {} arguments", code.name, count);
  }
  const int line = runtime_.line;
  TextBuilder out;
  exec(body, within, out);
  runtime_.line = line;
  return out.take();
}

void Evaluator::assign(const Target& target, const Value& value, const ScopePtr& scope) {
  if (target.kind == Target::Kind::name) {
    scope->variables[target.name] = value;
    return;
  }
  if (target.kind == Target::Kind::attribute) {
    const auto object = look_up(target.name, scope);
    const auto* held = object.as<ObjectPtr>();
    auto* space = held != nullptr ? dynamic_cast<Namespace*>(held->get()) : nullptr;
    if (space == nullptr)
      runtime_.fail("'{}' is no namespace: its attributes cannot be set", target.name);
    if (target.attribute.starts_with('_'))
      runtime_.fail("a namespace cannot have the attribute '{}', which begins with '_'",
                    target.attribute);
    insert(runtime_, *space->attributes, string_value(target.attribute), value);
    return;
  }
  const auto values = iterate(runtime_, value);
  if (values.size() != target.items.size())
    runtime_.fail("{} values cannot be unpacked into {} names", values.size(), target.items.size());
  for (size_t i = 0; i < values.size(); ++i) assign(target.items[i], values[i], scope);
}

Value Evaluator::look_up(const std::string& name, const ScopePtr& scope) const {
  for (const auto* at = scope.get(); at != nullptr; at = at->parent.get())
    if (const auto found = at->variables.find(name); found != at->variables.end())
      return found->second;
  return undefined(fmt::format("'{}' is undefined", name));
}

}  // namespace weft::tokenizers::jinja
