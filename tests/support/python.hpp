#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <sys/wait.h>

namespace weft::test {

/// The Python with the reference packages, or nullptr: WEFT_PYTHON.
inline const char* python() {
  const char* path = std::getenv("WEFT_PYTHON");
  return path != nullptr && *path != 0 ? path : nullptr;
}

/// Runs a script file with that Python, its output into `log`; the exit status.
inline int run_python_file(const std::filesystem::path& script,
                           const std::vector<std::string>& arguments,
                           const std::filesystem::path& log) {
  const auto quoted = [](const std::string& word) { return "'" + word + "'"; };
  auto command = quoted(python()) + " " + quoted(script.string());
  for (const auto& argument : arguments) command += " " + quoted(argument);
  const int status = std::system((command + " > " + quoted(log.string()) + " 2>&1").c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// Runs the text of a script with one argument; false where it fails.
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
