#pragma once

#include <ctime>
#include <functional>
#include <initializer_list>
#include <map>

#include <fmt/format.h>

#include <weft/core/error.hpp>

#include "tokenizers/jinja/value.hpp"

namespace weft::tokenizers::jinja {

constexpr int64_t kMaxWork = 400'000'000;      ///< bytes and elements made by one rendering
constexpr int64_t kMaxIterations = 1'000'000;  ///< of all loops together
constexpr int64_t kMaxString = 64'000'000;     ///< bytes of one string, and of the output
constexpr int64_t kMaxElements = 4'000'000;    ///< of one sequence
constexpr int64_t kMaxRange = 100'000;         ///< jinja2's sandbox has the same
constexpr int kMaxValueDepth = 200;            ///< lists within lists
constexpr int kMaxCallDepth = 1500;            ///< of nodes under evaluation
constexpr size_t kMaxSource = 1'000'000;       ///< bytes of a template

/// Variables of a block. Names that it lacks are looked up in the one around it.
struct Scope {
  std::shared_ptr<Scope> parent = {};
  std::unordered_map<std::string, Value> variables = {};
};
using ScopePtr = std::shared_ptr<Scope>;

class Namespace : public Object {
 public:
  std::string repr(Runtime& runtime) const override;
  std::optional<Value> attribute(Runtime&, std::string_view name) override;
  const char* type_name() const override { return "Namespace"; }
  DictPtr attributes = std::make_shared<Dict>();
};

/// What one rendering needs besides the tree: limits, the place for errors, the clock.
class Runtime {
 public:
  explicit Runtime(const std::string& name) : name_(name) {}
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw Error(fmt::format("chat template '{}', line {}: {}", name_, line,
                            fmt::format(format, std::forward<Args>(args)...)));
  }

  /// Counts bytes or elements that are made or looked at.
  void spend(size_t amount) {
    work_ += static_cast<int64_t>(amount);
    if (work_ > kMaxWork) fail("the template does too much work (above {} bytes)", kMaxWork);
  }
  /// The same for one string that is about to be made.
  void check_string(size_t bytes) {
    if (static_cast<int64_t>(bytes) > kMaxString)
      fail("a string of {} bytes is too long (at most {})", bytes, kMaxString);
    spend(bytes);
  }
  void count_iteration() {
    if (++iterations_ > kMaxIterations) fail("more than {} loop iterations", kMaxIterations);
  }

  /// Cycles of values can only go through these, which end with the rendering.
  void keep(std::shared_ptr<Namespace> space) { spaces_.push_back(std::move(space)); }
  void keep(ScopePtr scope) { scopes_.push_back(std::move(scope)); }

  int line = 1;
  int depth = 0;
  int generation_blocks = 0;
  int64_t now = 0;                                         ///< seconds since 1970
  std::unordered_map<const Dict*, int32_t> messages = {};  ///< those whose turns are recorded

 private:
  std::string name_;
  int64_t work_ = 0;
  int64_t iterations_ = 0;
  std::vector<std::shared_ptr<Namespace>> spaces_;
  std::vector<ScopePtr> scopes_;
};

/// Guards the stack.
class Deeper {
 public:
  explicit Deeper(Runtime& runtime) : runtime_(runtime) {
    if (++runtime_.depth > kMaxCallDepth) {
      --runtime_.depth;
      runtime_.fail("nested too deeply (calls of macros, or an expression)");
    }
  }
  ~Deeper() { --runtime_.depth; }
  Deeper(const Deeper&) = delete;
  Deeper& operator=(const Deeper&) = delete;

 private:
  Runtime& runtime_;
};

/// Arguments by position or name, as Python binds them. A name that begins with '*' marks the
/// parameters from there on as optional.
std::vector<std::optional<Value>> bind(Runtime& runtime, std::string_view function,
                                       CallArguments& arguments,
                                       std::initializer_list<std::string_view> parameters);

using FilterFunction = Value (*)(Runtime&, const Value&, CallArguments&);
using TestFunction = bool (*)(Runtime&, const Value&, CallArguments&);
FilterFunction find_filter(std::string_view name);  ///< nullptr where there is none
TestFunction find_test(std::string_view name);
Value apply_filter(Runtime& runtime, std::string_view name, const Value& value,
                   CallArguments& arguments);
bool apply_test(Runtime& runtime, std::string_view name, const Value& value,
                CallArguments& arguments);
const std::map<std::string_view, FilterFunction>& string_filters();
const std::map<std::string_view, FilterFunction>& number_filters();
const std::map<std::string_view, FilterFunction>& sequence_filters();
const std::map<std::string_view, FilterFunction>& lazy_filters();

/// A method of a string, a list, a tuple or a mapping; nothing where there is none of the name.
std::optional<Value> find_method(Runtime& runtime, const Value& object, std::string_view name);
Value call_string_method(Runtime& runtime, const String& self, std::string_view name,
                         CallArguments& arguments);

/// range, namespace, dict, raise_exception, strftime_now.
void add_globals(Scope& scope);

}  // namespace weft::tokenizers::jinja
