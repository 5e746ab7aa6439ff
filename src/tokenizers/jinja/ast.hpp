#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tokenizers/jinja/value.hpp"

/// The syntax tree of a template; node names are jinja2's.
namespace weft::tokenizers::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

enum class ExprKind {
  constant,
  name,
  list,
  tuple,
  dict,  // operands: key, value, key, value ...
  get_attribute,
  get_item,
  slice,  // operands: object, start, stop, step; the last three may be null
  call,
  filter,  // operands[0] null: the text of the block around it
  test,
  negate,
  plus,
  logical_not,
  logical_and,
  logical_or,
  binary,  // text = operator
  concat,
  compare,    // operators[i] stands between operands i and i + 1
  condition,  // operands: test, then, else (may be null)
};

struct Arguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr list;     // *list
  ExprPtr mapping;  // **mapping
};

struct Expr {
  ExprKind kind = ExprKind::constant;
  int line = 0;
  int depth = 1;
  std::string text = {};  // name, attribute, filter, test or operator
  Value value = {};
  std::vector<ExprPtr> operands = {};
  std::vector<std::string> operators = {};
  Arguments arguments = {};
};

/// What a value is assigned to.
struct Target {
  enum class Kind { name, attribute, tuple } kind = Kind::name;
  std::string name = {};
  std::string attribute = {};  // of a namespace
  std::vector<Target> items = {};
};

struct Stmt;
using Body = std::vector<std::unique_ptr<Stmt>>;

struct MacroCode {
  std::string name = {};
  std::vector<std::string> parameters = {};
  std::vector<ExprPtr> defaults = {};  // of the last parameters
  Body* body = nullptr;
  bool uses_caller = false;
  bool uses_varargs = false;
  bool uses_kwargs = false;
};

enum class StmtKind {
  data,
  print,
  if_,  // conditions[i] with bodies[i]; one body more for else
  for_,
  set,
  set_block,
  macro,
  call,
  filter,
  with,
  generation,
  break_,
  continue_
};

struct Stmt {
  StmtKind kind = StmtKind::data;
  int line = 0;
  String text = {};
  std::vector<ExprPtr> exprs =
      {};  // the printed ones, conditions, [iterable, test], values of with
  std::vector<Target> targets = {};
  std::vector<Body> bodies = {};
  MacroCode code = {};  // of macro, call
};

/// Parses a template; Error with name and line where it is not one.
Body parse(std::string_view source, const std::string& name);

}  // namespace weft::tokenizers::jinja
