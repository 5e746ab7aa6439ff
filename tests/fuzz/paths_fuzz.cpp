#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <unistd.h>

#include <weft/core/error.hpp>
#include <weft/io/paths.hpp>

/// Wildcards see one small folder only.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  const auto folder = std::filesystem::temp_directory_path() / "weft-paths-fuzz";
  std::filesystem::create_directories(folder / "a");
  for (const auto* name : {"a/b.tar", "a/c.tar", "x.tar", "aaab"})
    std::ofstream(folder / name) << "x";
  std::filesystem::current_path(folder);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  try {
    if (weft::io::expand_braces(text, 1000).size() > 1000) std::abort();
  } catch (const weft::Error&) {
  }
  // Neither "/" at the front nor ".." leads out of the folder.
  std::replace(text.begin(), text.end(), '.', 'a');
  text.insert(0, "a");
  if (text.find("::/") != std::string::npos || text.find('{') != std::string::npos) return 0;
  try {
    if (weft::io::expand_paths(text, 1000).size() > 1000) std::abort();
  } catch (const weft::Error&) {
  }
  return 0;
}
