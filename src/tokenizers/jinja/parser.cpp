#include <algorithm>
#include <set>

#include "core/fail.hpp"
#include "tokenizers/jinja/expressions.hpp"

namespace weft::tokenizers::jinja {
namespace {

class Parser : public ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Body template_body() {
    auto body = statements({});
    if (!unknown_.empty()) throw Error(unknown_.front());
    return body;
  }

 private:
  using Ends = std::initializer_list<std::string_view>;

  /// Up to a tag of one of these names, which is the current token then.
  Body statements(Ends ends) {
    const Nested guard(*this);
    Body body;
    while (true) {
      const auto& token = current();
      if (token.kind == TokenKind::end) {
        if (ends.size() == 0) return body;
        fail("the template ends where {{% {} %}} is expected", *ends.begin());
      }
      auto stmt = std::make_unique<Stmt>();
      stmt->line = token.line;
      if (token.kind == TokenKind::data) {
        stmt->text = make_string(next().text);
      } else if (token.kind == TokenKind::variable_begin) {
        next();
        stmt->kind = StmtKind::print;
        stmt->exprs.push_back(tuple_or_expression());
        expect(TokenKind::variable_end);
      } else {
        expect(TokenKind::block_begin);
        if (current().kind != TokenKind::name)
          fail("a tag's name is expected, found {}", describe());
        if (std::find(ends.begin(), ends.end(), current().text) != ends.end()) return body;
        statement(*stmt);
        expect(TokenKind::block_end);
      }
      body.push_back(std::move(stmt));
    }
  }

  /// The rest of the tag, and what it encloses. The name of the tag at its end is eaten.
  Body block(Ends ends) {
    skip_op(":");
    expect(TokenKind::block_end);
    return statements(ends);
  }
  Body inner_block(Ends ends) {
    const int soft = std::exchange(soft_, 0);
    auto body = block(ends);
    soft_ = soft;
    return body;
  }

  void statement(Stmt& stmt) {
    const auto name = next().text;
    if (name == "if") return parse_if(stmt);
    if (name == "for") return parse_for(stmt);
    if (name == "set") return parse_set(stmt);
    if (name == "macro") return parse_macro(stmt);
    if (name == "call") return parse_call_block(stmt);
    if (name == "with") return parse_with(stmt);
    if (name == "print") {
      stmt.kind = StmtKind::print;
      while (current().kind != TokenKind::block_end) {
        if (!stmt.exprs.empty()) expect_op(",");
        stmt.exprs.push_back(expression());
      }
    } else if (name == "filter") {
      stmt.kind = StmtKind::filter;
      stmt.exprs.push_back(filters(nullptr, true));
      stmt.bodies.push_back(inner_block({"endfilter"}));
      next();
    } else if (name == "generation") {
      stmt.kind = StmtKind::generation;
      const int loops = std::exchange(loops_, 0);
      stmt.bodies.push_back(inner_block({"endgeneration"}));
      loops_ = loops;
      next();
    } else if (name == "break" || name == "continue") {
      if (loops_ == 0) fail("'{}' outside of a loop", name);
      stmt.kind = name == "break" ? StmtKind::break_ : StmtKind::continue_;
    } else {
      fail("unknown or unsupported tag '{}'", name);
    }
  }

  void parse_if(Stmt& stmt) {
    stmt.kind = StmtKind::if_;
    while (true) {
      ++soft_;
      stmt.exprs.push_back(tuple_or_expression(false));
      stmt.bodies.push_back(block({"elif", "else", "endif"}));
      --soft_;
      const auto tag = next().text;
      if (tag == "elif") continue;
      if (tag == "else") {
        ++soft_;
        stmt.bodies.push_back(block({"endif"}));
        --soft_;
        next();
      }
      return;
    }
  }

  void parse_for(Stmt& stmt) {
    stmt.kind = StmtKind::for_;
    stmt.targets.push_back(target({"in"}, false));
    expect_name("in");
    stmt.exprs.push_back(tuple_or_expression(false, "recursive"));
    stmt.exprs.push_back(skip_name("if") ? expression() : nullptr);
    if (is_name("recursive")) fail("recursive loops are not supported");
    ++loops_;
    stmt.bodies.push_back(inner_block({"endfor", "else"}));
    --loops_;
    if (next().text == "else") {
      stmt.bodies.push_back(inner_block({"endfor"}));
      next();
    }
  }

  void parse_set(Stmt& stmt) {
    stmt.targets.push_back(target({}, true));
    if (skip_op("=")) {
      stmt.kind = StmtKind::set;
      stmt.exprs.push_back(tuple_or_expression());
      return;
    }
    stmt.kind = StmtKind::set_block;
    stmt.exprs.push_back(is_op("|") ? filters(nullptr, false) : nullptr);
    stmt.bodies.push_back(inner_block({"endset"}));
    next();
  }

  void parse_with(Stmt& stmt) {
    stmt.kind = StmtKind::with;
    while (current().kind != TokenKind::block_end) {
      if (!stmt.targets.empty()) expect_op(",");
      stmt.targets.push_back(target({}, false));
      expect_op("=");
      stmt.exprs.push_back(expression());
    }
    stmt.bodies.push_back(inner_block({"endwith"}));
    next();
  }

  void signature(MacroCode& code) {
    expect_op("(");
    while (!is_op(")")) {
      if (!code.parameters.empty()) expect_op(",");
      const auto name = expect(TokenKind::name).text;
      if (std::find(code.parameters.begin(), code.parameters.end(), name) != code.parameters.end())
        fail("the parameter '{}' stands twice", name);
      if (code.parameters.size() >= 255) fail("more than 255 parameters");
      code.parameters.push_back(name);
      if (skip_op("="))
        code.defaults.push_back(expression());
      else if (!code.defaults.empty())
        fail("a parameter without a default follows one with a default");
    }
    next();
  }

  void macro_body(Stmt& stmt, std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    auto outer = std::exchange(names_, {});
    stmt.bodies.push_back(inner_block({end}));
    next();
    stmt.code.uses_caller = names_.contains("caller");
    stmt.code.uses_varargs = names_.contains("varargs");
    stmt.code.uses_kwargs = names_.contains("kwargs");
    names_.merge(outer);
    loops_ = loops;
  }

  void parse_macro(Stmt& stmt) {
    stmt.kind = StmtKind::macro;
    stmt.code.name = expect(TokenKind::name).text;
    signature(stmt.code);
    macro_body(stmt, "endmacro");
  }

  void parse_call_block(Stmt& stmt) {
    stmt.kind = StmtKind::call;
    stmt.code.name = "caller";
    if (is_op("(")) signature(stmt.code);
    stmt.exprs.push_back(expression());
    if (stmt.exprs[0]->kind != ExprKind::call) fail("expected a call");
    macro_body(stmt, "endcall");
  }

  int loops_ = 0;
};

}  // namespace

Body parse(std::string_view source, const std::string& name) {
  return Parser(tokenize(source, name), name).template_body();
}

}  // namespace weft::tokenizers::jinja
