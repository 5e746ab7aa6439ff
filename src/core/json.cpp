#include <algorithm>
#include <iterator>
#include <unordered_set>

#include <weft/core/error.hpp>
#include <weft/core/json.hpp>

#include "core/fail.hpp"
#include "core/json_impl.hpp"

namespace weft {
namespace {

using Value = nlohmann::ordered_json;
constexpr int kMaxDepth = 64;

[[noreturn]] void wrong_type(const char* expected, const Value& found) {
  fail("expected {}, found {}", expected, found.type_name());
}

/// A text whose reader can tell how far it is.
struct Cursor {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  reference operator*() const { return **place; }
  Cursor& operator++() {
    ++*place;
    return *this;
  }
  bool operator==(const Cursor& other) const { return *place == *other.place; }
  bool operator!=(const Cursor& other) const { return *place != *other.place; }

  const char** place;
};

/// Takes the parser's events. The library's own handler looks through all members of an ordered
/// object at each insertion, and a second member of the same name replaces the first.
template <class AnyValue>
class Builder {
 public:
  Builder(std::string_view text, const char*& place, std::string_view origin)
      : text_(text), place_(place), origin_(origin) {}
  AnyValue result = {};

  bool null() { return add({}); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(int64_t value) { return add(value); }
  bool number_unsigned(uint64_t value) { return add(value); }
  bool number_float(double value, const std::string&) { return add(value); }
  bool string(std::string& value) { return add(std::move(value)); }
  bool binary(typename AnyValue::binary_t& value) { return add(std::move(value)); }
  bool start_object(size_t) { return open(AnyValue::object()); }
  bool start_array(size_t) { return open(AnyValue::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    if (!open_.back().names.insert(name).second)
      fail("{}: the key '{}' stands twice in one object, again at byte {}", origin_, name,
           start_of_string());
    key_ = std::move(name);
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::json::exception& error) {
    const std::string what = error.what();
    const auto start = what.find("] ");
    fail("{}: not valid JSON: {}", origin_,
         start == std::string::npos ? what : what.substr(start + 2));
  }

 private:
  struct Open {
    AnyValue value;
    std::string key;  // of this value in the one around it
    std::unordered_set<std::string> names = {};
  };

  bool add(AnyValue value) {
    if (open_.empty()) {
      result = std::move(value);
    } else if (auto& around = open_.back().value; around.is_array()) {
      around.push_back(std::move(value));
    } else {
      auto& members = around.template get_ref<typename AnyValue::object_t&>();
      if constexpr (requires { members.emplace_back(key_, std::move(value)); })
        members.emplace_back(std::move(key_), std::move(value));
      else
        members.emplace(std::move(key_), std::move(value));
    }
    return true;
  }
  bool open(AnyValue value) {
    if (open_.size() == kMaxDepth)
      fail("{}: JSON is nested deeper than {} at byte {}", origin_, kMaxDepth, byte() - 1);
    open_.push_back({std::move(value), std::move(key_)});
    return true;
  }
  bool close() {
    auto done = std::move(open_.back());
    open_.pop_back();
    key_ = std::move(done.key);
    return add(std::move(done.value));
  }

  size_t byte() const { return static_cast<size_t>(place_ - text_.data()); }
  /// Of the string that ends here. A quote inside it has an odd number of backslashes before it.
  size_t start_of_string() const {
    for (auto at = byte() - 1;;) {
      at = text_.rfind('"', at - 1);
      auto slashes = at;
      while (slashes > 0 && text_[slashes - 1] == '\\') --slashes;
      if ((at - slashes) % 2 == 0) return at;
    }
  }

  std::string_view text_;
  const char*& place_;
  std::string_view origin_;
  std::string key_;
  std::vector<Open> open_;
};

template <class AnyValue>
AnyValue parse_any(std::string_view text, std::string_view origin) {
  const char* place = text.data();
  const char* end = text.data() + text.size();
  Builder<AnyValue> builder(text, place, origin);
  AnyValue::sax_parse(Cursor{&place}, Cursor{&end}, &builder);
  return std::move(builder.result);
}

}  // namespace

Value parse_json(std::string_view text, std::string_view origin) {
  return parse_any<Value>(text, origin);
}

nlohmann::json parse_sorted_json(std::string_view text, std::string_view origin) {
  return parse_any<nlohmann::json>(text, origin);
}

Json::Json() : impl_(std::make_unique<Impl>()) {}
Json::Json(bool value) : impl_(std::make_unique<Impl>(Impl{value})) {}
Json::Json(int value) : impl_(std::make_unique<Impl>(Impl{value})) {}
Json::Json(int64_t value) : impl_(std::make_unique<Impl>(Impl{value})) {}
Json::Json(uint64_t value) : impl_(std::make_unique<Impl>(Impl{value})) {}
Json::Json(double value) : impl_(std::make_unique<Impl>(Impl{value})) {}
Json::Json(const char* value) : impl_(std::make_unique<Impl>(Impl{value})) {}
Json::Json(std::string_view value) : impl_(std::make_unique<Impl>(Impl{value})) {}
Json::Json(const std::string& value) : impl_(std::make_unique<Impl>(Impl{value})) {}
Json::Json(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Json::Json(const Json& other) : impl_(std::make_unique<Impl>(*other.impl_)) {}
Json::Json(Json&& other) noexcept : impl_(std::move(other.impl_)) {
  other.impl_ = std::make_unique<Impl>();
}
Json& Json::operator=(const Json& other) {
  *impl_ = *other.impl_;
  return *this;
}
Json& Json::operator=(Json&& other) noexcept {
  std::swap(impl_, other.impl_);
  return *this;
}
Json::~Json() = default;

Json Json::array() { return make_json(Value::array()); }
Json Json::object() { return make_json(Value::object()); }
Json Json::object(std::initializer_list<std::pair<std::string_view, Json>> members) {
  auto out = object();
  for (const auto& [key, value] : members) out.set(key, value);
  return out;
}

Json Json::parse(std::string_view text, std::string_view origin) {
  return make_json(parse_json(text, origin));
}

std::string Json::dump(int indent) const {
  return impl_->value.dump(indent, ' ', false, Value::error_handler_t::replace);
}

bool Json::is_null() const { return impl_->value.is_null(); }
bool Json::is_bool() const { return impl_->value.is_boolean(); }
bool Json::is_integer() const { return impl_->value.is_number_integer(); }
bool Json::is_number() const { return impl_->value.is_number(); }
bool Json::is_string() const { return impl_->value.is_string(); }
bool Json::is_array() const { return impl_->value.is_array(); }
bool Json::is_object() const { return impl_->value.is_object(); }
const char* Json::type_name() const { return impl_->value.type_name(); }

bool Json::as_bool() const {
  if (!is_bool()) wrong_type("a boolean", impl_->value);
  return impl_->value.get<bool>();
}
int64_t Json::as_int() const {
  if (impl_->value.is_number_float()) {
    const auto number = impl_->value.get<double>();
    if (number >= -9e15 && number <= 9e15 &&
        number == static_cast<double>(static_cast<int64_t>(number)))
      return static_cast<int64_t>(number);
    fail("expected an integer, found {}", number);
  }
  if (!is_integer()) wrong_type("an integer", impl_->value);
  return impl_->value.get<int64_t>();
}
double Json::as_double() const {
  if (!is_number()) wrong_type("a number", impl_->value);
  return impl_->value.get<double>();
}
std::string Json::as_string() const {
  if (!is_string()) wrong_type("a string", impl_->value);
  return impl_->value.get<std::string>();
}
std::vector<int64_t> Json::as_ints() const {
  if (!is_array()) wrong_type("an array", impl_->value);
  std::vector<int64_t> out;
  for (size_t i = 0; i < size(); ++i) out.push_back(at(i).as_int());
  return out;
}
std::vector<double> Json::as_doubles() const {
  if (!is_array()) wrong_type("an array", impl_->value);
  std::vector<double> out;
  for (size_t i = 0; i < size(); ++i) out.push_back(at(i).as_double());
  return out;
}
std::vector<std::string> Json::as_strings() const {
  if (!is_array()) wrong_type("an array", impl_->value);
  std::vector<std::string> out;
  for (size_t i = 0; i < size(); ++i) out.push_back(at(i).as_string());
  return out;
}

size_t Json::size() const { return is_array() || is_object() ? impl_->value.size() : 0; }
std::vector<std::string> Json::keys() const {
  std::vector<std::string> out;
  if (is_object())
    for (const auto& [key, value] : impl_->value.items()) out.push_back(key);
  return out;
}
bool Json::contains(std::string_view key) const {
  return is_object() && impl_->value.contains(key);
}
Json Json::at(std::string_view key) const {
  if (!is_object()) wrong_type("an object", impl_->value);
  const auto found = impl_->value.find(key);
  if (found == impl_->value.end()) fail("the key '{}' is missing", key);
  return make_json(*found);
}
Json Json::at(size_t index) const {
  if (!is_array()) wrong_type("an array", impl_->value);
  if (index >= impl_->value.size())
    fail("element {} of an array of {}", index, impl_->value.size());
  return make_json(impl_->value[index]);
}
Json Json::get(std::string_view key, const Json& fallback) const {
  if (!contains(key)) return fallback;
  auto value = at(key);
  return value.is_null() ? fallback : value;
}
Json& Json::set(std::string_view key, const Json& value) {
  if (is_null()) impl_->value = Value::object();
  if (!is_object()) wrong_type("an object", impl_->value);
  impl_->value[std::string(key)] = value.impl_->value;
  return *this;
}
Json& Json::erase(std::string_view key) {
  if (is_object()) impl_->value.erase(std::string(key));
  return *this;
}
Json& Json::push_back(const Json& value) {
  if (is_null()) impl_->value = Value::array();
  if (!is_array()) wrong_type("an array", impl_->value);
  impl_->value.push_back(value.impl_->value);
  return *this;
}
namespace {

// An object's members have an order here, which is no part of its value.
bool same(const nlohmann::ordered_json& a, const nlohmann::ordered_json& b) {
  if (a.is_array() && b.is_array()) return std::ranges::equal(a, b, same);
  if (!a.is_object() || !b.is_object()) return a == b;
  return a.size() == b.size() && std::ranges::all_of(a.items(), [&](const auto& item) {
           const auto found = b.find(item.key());
           return found != b.end() && same(item.value(), *found);
         });
}

}  // namespace

bool Json::operator==(const Json& other) const { return same(impl_->value, other.impl_->value); }

}  // namespace weft
