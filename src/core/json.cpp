#include <fstream>
#include <sstream>

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

}  // namespace

template <class AnyValue>
static AnyValue parse_any(std::string_view text, std::string_view origin) {
  // The depth is checked before the parser sees the text, since its own recursion has no limit on
  // destruction.
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth)
        fail("{}: JSON is nested deeper than {} at byte {}", origin, kMaxDepth, i);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  try {
    return AnyValue::parse(text);
  } catch (const nlohmann::json::exception& error) {
    const std::string what = error.what();
    const auto start = what.find("] ");
    fail("{}: not valid JSON: {}", origin,
         start == std::string::npos ? what : what.substr(start + 2));
  }
}

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

Json Json::read(const std::filesystem::path& path, uint64_t max_bytes) {
  std::error_code code;
  const auto size = std::filesystem::file_size(path, code);
  if (code) fail("{}: cannot be read: {}", path.string(), code.message());
  if (size > max_bytes)
    fail("{}: {} bytes, more than the limit of {}", path.string(), size, max_bytes);
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) fail("{}: cannot be read", path.string());
  return parse(text.str(), path.string());
}

void Json::write(const std::filesystem::path& path, int indent) const {
  const auto temporary = path.string() + ".tmp";
  {
    std::ofstream out(temporary, std::ios::binary);
    out << dump(indent) << '\n';
    if (!out.flush()) fail("{}: cannot be written", temporary);
  }
  std::filesystem::rename(temporary, path);
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
bool Json::operator==(const Json& other) const { return impl_->value == other.impl_->value; }

}  // namespace weft
