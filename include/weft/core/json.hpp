#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <weft/core/export.hpp>

namespace weft {

/// A JSON value: null, boolean, integer, number, string, array or object (keys keep their order).
/// Access copies: it is meant for configurations and results, not for large files.
/// Every accessor that meets another type throws weft::Error which names the type that was found.
class WEFT_API Json {
 public:
  Json();                          ///< null
  Json(bool value);                // NOLINT(google-explicit-constructor): literals are the point
  Json(int value);                 // NOLINT
  Json(int64_t value);             // NOLINT
  Json(uint64_t value);            // NOLINT
  Json(double value);              // NOLINT
  Json(const char* value);         // NOLINT
  Json(std::string_view value);    // NOLINT
  Json(const std::string& value);  // NOLINT
  template <class T>
  Json(const std::vector<T>& values) : Json(array()) {  // NOLINT
    for (const auto& value : values) push_back(value);
  }
  Json(const Json&);
  Json(Json&&) noexcept;
  Json& operator=(const Json&);
  Json& operator=(Json&&) noexcept;
  ~Json();

  static Json array();
  static Json object();
  static Json object(std::initializer_list<std::pair<std::string_view, Json>> members);

  /// Parses UTF-8 text; nesting is limited to 64, and no key may stand twice in one object.
  /// `origin` (a file's name) stands in the error's message.
  static Json parse(std::string_view text, std::string_view origin = "JSON text");
  /// Reads a file of at most `max_bytes`.
  static Json read(const std::filesystem::path& path, uint64_t max_bytes = 100'000'000);
  /// As io::write_file: whole or absent, and on the disk when this returns. indent < 0: one line.
  void write(const std::filesystem::path& path, int indent = 2) const;
  std::string dump(int indent = -1) const;

  bool is_null() const;
  bool is_bool() const;
  bool is_integer() const;
  bool is_number() const;  ///< integers too
  bool is_string() const;
  bool is_array() const;
  bool is_object() const;
  const char* type_name() const;

  bool as_bool() const;
  int64_t as_int() const;
  double as_double() const;
  std::string as_string() const;
  std::vector<int64_t> as_ints() const;
  std::vector<double> as_doubles() const;
  std::vector<std::string> as_strings() const;

  size_t size() const;  ///< elements or members; 0 for scalars
  std::vector<std::string> keys() const;
  bool contains(std::string_view key) const;
  /// The member or element, or Error that names it.
  Json at(std::string_view key) const;
  Json at(size_t index) const;
  /// The member, or `fallback` where it is absent or null.
  Json get(std::string_view key, const Json& fallback = {}) const;
  Json& set(std::string_view key, const Json& value);  ///< returns *this
  Json& erase(std::string_view key);
  Json& push_back(const Json& value);
  bool operator==(const Json& other) const;  ///< whatever the order of members

  struct Impl;
  explicit Json(std::unique_ptr<Impl> impl);
  const Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft
