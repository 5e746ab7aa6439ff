#pragma once

#include <stdexcept>
#include <string>

#include <weft/core/export.hpp>

namespace weft {

/// What went wrong, as the exit status that a program ends with.
enum class ErrorKind {
  usage = 2,     ///< a flag or a combination of flags
  input = 3,     ///< a file, a model folder, a configuration
  diverged = 4,  ///< training left the finite numbers
  bad_data = 5,  ///< more damaged samples than allowed
};

/// Thrown for files, data and programs. The message says what was wrong, where, what was expected
/// and what was found, and the next step where there is one. (Modules and ops throw c10::ValueError
/// instead.)
class WEFT_API Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, ErrorKind kind = ErrorKind::input)
      : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }
  int exit_status() const { return static_cast<int>(kind_); }

 private:
  ErrorKind kind_;
};

}  // namespace weft
