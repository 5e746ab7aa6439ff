#include "checkpoint/folder_swap.hpp"

#include <string>

#include <weft/io/file.hpp>
#include <weft/io/folder.hpp>

#include "core/fail.hpp"

namespace weft::checkpoint {
namespace fs = std::filesystem;

void write_folder(const fs::path& path, const std::function<bool(std::string_view)>& stale,
                  const std::function<void(const fs::path&)>& write) {
  auto target = fs::absolute(path).lexically_normal();
  if (!target.has_filename()) target = target.parent_path();
  if (fs::exists(target) && !fs::is_directory(target))
    fail("{}: a model folder is to be written here, and a file stands in the way", target.string());
  fs::create_directories(target.parent_path());
  const auto temporary = io::temporary_beside(target);
  try {
    fs::create_directory(temporary);
    write(temporary);
    if (fs::exists(target)) {
      for (const auto& entry : fs::directory_iterator(target)) {
        const auto name = entry.path().filename();
        if (!fs::exists(temporary / name) && !stale(name.string()))
          fs::copy(entry.path(), temporary / name,
                   fs::copy_options::recursive | fs::copy_options::copy_symlinks);
      }
    }
    io::sync_folder(temporary);
    io::replace_folder(temporary, target);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw;
  }
}

}  // namespace weft::checkpoint
