#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace weft::test {

/// The Python with the reference packages, or nullptr: WEFT_PYTHON.
inline const char* python() {
  const char* path = std::getenv("WEFT_PYTHON");
  return path && *path ? path : nullptr;
}

/// Runs a script with one argument; false where it fails.
inline bool run_python(const std::string& script, const std::filesystem::path& argument) {
  const auto file = argument.string() + ".py";
  std::ofstream(file) << script;
  return std::system(('"' + std::string(python()) + "\" '" + file + "' '" + argument.string() + "'")
                         .c_str()) == 0;
}

}  // namespace weft::test

#define WEFT_NEEDS_PYTHON()  \
  if (!weft::test::python()) \
  GTEST_SKIP() << "WEFT_PYTHON names no Python with the reference packages"
