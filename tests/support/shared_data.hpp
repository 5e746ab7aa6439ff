#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

namespace weft::test {

/// Real test data; may be absent.
inline std::filesystem::path shared_file(const std::string& path) {
  return std::filesystem::path(WEFT_SHARED_DIR) / path;
}

/// A folder of real weights, as shared/tools/real_models.py makes them; may be absent.
inline std::filesystem::path real_model(const std::string& name) {
  const char* folder = std::getenv("WEFT_MODELS_DIR");
  return std::filesystem::path(folder != nullptr && *folder ? folder : "build/models") / name;
}

}  // namespace weft::test

/// Ends the test as skipped, with a message, where `file` is absent.
#define WEFT_SKIP_WITHOUT(file) \
  if (!std::filesystem::exists(file)) GTEST_SKIP() << (file) << " is absent"
