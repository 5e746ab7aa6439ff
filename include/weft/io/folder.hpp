#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <weft/core/export.hpp>

namespace weft::io {

/// Renames the folder `temporary` to `final_path` and syncs the parent. A folder that is there
/// already is exchanged for it in one step and then removed (two renames on file systems that
/// cannot exchange).
WEFT_API void replace_folder(const std::filesystem::path& temporary,
                             const std::filesystem::path& final_path);

/// A folder that appears whole or not at all, for checkpoints and models:
///
///     FolderWriter writer("runs/x/checkpoints/step-100");
///     write_safetensors(writer.folder() / "model.safetensors", tensors);
///     writer.commit();
///
/// Files go to a temporary folder beside the target. commit() syncs each of them, writes
/// manifest.json last, renames, and syncs the parent. Without commit() nothing remains.
class WEFT_API FolderWriter {
 public:
  explicit FolderWriter(std::filesystem::path final_path);
  FolderWriter(const FolderWriter&) = delete;
  FolderWriter& operator=(const FolderWriter&) = delete;
  ~FolderWriter();

  /// Where to write; exists.
  const std::filesystem::path& folder() const { return temporary_; }
  void commit();

  static constexpr std::string_view kManifest = "manifest.json";

 private:
  std::filesystem::path final_, temporary_;
};

/// Compares a folder with its manifest: every listed file is there with its size and, if `digests`,
/// its XXH3 digest. Error names the first file that differs, or the missing manifest. Files that
/// are not listed are left alone.
WEFT_API void check_folder(const std::filesystem::path& folder, bool digests = true);

}  // namespace weft::io
