#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "tokenizers/jinja/text.hpp"

/// The values of a template, which behave as Python's. Everything but namespaces is immutable.
namespace weft::tokenizers::jinja {

class Runtime;
struct Value;
class Object;

/// Prints as nothing and is an error in most other uses, with this message.
struct Undefined {
  std::shared_ptr<const std::string> message;
};
struct None {};

enum class SequenceKind { list, tuple, range, iterator, keys, values, items };

struct Items;
struct Dict;
using SequencePtr = std::shared_ptr<Items>;
using DictPtr = std::shared_ptr<Dict>;
using ObjectPtr = std::shared_ptr<Object>;

struct Value {
  using Data =
      std::variant<None, Undefined, bool, int64_t, double, String, SequencePtr, DictPtr, ObjectPtr>;
  Data data;

  Value() = default;
  template <class T>
  requires(!std::is_same_v<std::remove_cvref_t<T>, Value> && std::is_constructible_v<Data, T&&>)
      Value(T&& v)
      : data(std::forward<T>(v)) {}  // NOLINT(google-explicit-constructor)

  template <class T>
  const T* as() const {
    return std::get_if<T>(&data);
  }
  template <class T>
  bool is() const {
    return std::holds_alternative<T>(data);
  }
  /// The text of a string, or nullptr.
  const Text* text() const { return is<String>() ? as<String>()->get() : nullptr; }
  const Items* items() const { return is<SequencePtr>() ? as<SequencePtr>()->get() : nullptr; }
  const Dict* dict() const { return is<DictPtr>() ? as<DictPtr>()->get() : nullptr; }
};

inline Value string_value(std::string bytes) { return make_string(std::move(bytes)); }

struct Range {
  int64_t start = 0;
  int64_t stop = 0;
  int64_t step = 1;
};

/// A list, a tuple or what else can be gone through. An iterator can be only once: `next` counts.
struct Items {
  SequenceKind kind = SequenceKind::list;
  std::vector<Value> values = {};
  int depth = 1;
  size_t next = 0;
  Range range = {};        // of that kind
  std::string error = {};  // that an iterator ends with, once it gets there
};

/// A mapping in the order of insertion.
struct Dict {
  std::vector<std::pair<Value, Value>> members = {};
  std::unordered_map<std::string, size_t> index = {};  // by hash_key()
  int depth = 1;

  const Value* find(std::string_view key) const;
};

/// Arguments of a call, evaluated.
struct CallArguments {
  std::vector<Value> positional = {};
  std::vector<std::pair<std::string, Value>> named = {};
};

/// Namespaces, loops, macros, functions and methods.
class Object {
 public:
  virtual ~Object() = default;
  virtual std::string repr(Runtime& runtime) const = 0;
  virtual std::optional<Value> attribute(Runtime&, std::string_view) { return {}; }
  virtual bool callable() const { return false; }
  virtual Value call(Runtime& runtime, CallArguments& arguments);
  virtual const char* type_name() const = 0;
  int depth = 0;
};

const char* type_name(const Value& value);  ///< as Python names it
bool truth(const Value& value);
int depth(const Value& value);
inline bool is_undefined(const Value& value) { return value.is<Undefined>(); }

bool is_hashable(Runtime& runtime, const Value& value);
/// Equal keys have equal texts; fails for lists and mappings as Python does.
std::string hash_key(Runtime& runtime, const Value& value);

/// Numbers; booleans are integers.
std::optional<int64_t> integer(const Value& value);
std::optional<double> number(const Value& value);

Value make_sequence(Runtime& runtime, SequenceKind kind, std::vector<Value> values);
inline Value make_list(Runtime& runtime, std::vector<Value> values) {
  return make_sequence(runtime, SequenceKind::list, std::move(values));
}
Value make_range(Runtime& runtime, const Range& range);
/// A later value of a key replaces an earlier one, at the place of the earlier.
void insert(Runtime& runtime, Dict& dict, Value key, Value value);

Value undefined(std::string message);

/// The elements that a loop sees; uses up an iterator. Fails where `value` has none.
std::vector<Value> iterate(Runtime& runtime, const Value& value);
std::optional<int64_t> length(const Value& value);  ///< len(), where there is one

// print.cpp
std::string float_repr(double value);
std::string repr(Runtime& runtime, const Value& value);
String str(Runtime& runtime, const Value& value);
struct JsonStyle {
  bool ascii = false;
  std::optional<std::string> indent = {};
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};
String to_json(Runtime& runtime, const Value& value, const JsonStyle& style);

// operators.cpp
bool equal(Runtime& runtime, const Value& a, const Value& b);
bool less(Runtime& runtime, const Value& a, const Value& b, std::string_view op = "<");
bool contains(Runtime& runtime, const Value& container, const Value& item);
Value binary(Runtime& runtime, std::string_view op, const Value& a, const Value& b);
bool compare(Runtime& runtime, std::string_view op, const Value& a, const Value& b);
Value negate(Runtime& runtime, const Value& value, bool plus);

// access.cpp
Value get_attribute(Runtime& runtime, const Value& object, const std::string& name);
Value get_item(Runtime& runtime, const Value& object, const Value& key);
Value get_slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
                const Value& step);
Value call(Runtime& runtime, const Value& function, CallArguments& arguments);

}  // namespace weft::tokenizers::jinja
