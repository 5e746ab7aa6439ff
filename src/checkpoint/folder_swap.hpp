#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

namespace weft::checkpoint {

/// Lets `write` fill a new folder and puts it in the place of `path` in one step. Files of a folder
/// that was there stay, except those for which `stale` holds. A failure leaves what was there.
void write_folder(const std::filesystem::path& path,
                  const std::function<bool(std::string_view name)>& stale,
                  const std::function<void(const std::filesystem::path& folder)>& write);

}  // namespace weft::checkpoint
