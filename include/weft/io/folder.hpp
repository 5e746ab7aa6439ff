#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <weft/core/export.hpp>

namespace weft::io {

/// A folder that appears whole or not at all, for checkpoints and models:
///
///     FolderWriter writer("runs/x/checkpoints/step-100");
///     write_safetensors(writer.folder() / "model.safetensors", tensors);
///     write_manifest(writer.folder());
///     writer.commit();
///
/// Files go to a temporary folder beside the target, of a name by temporary_beside(). commit()
/// syncs each of them, renames, and syncs the parent. Without commit() nothing remains, and a
/// folder that was there stays as it was.
class WEFT_API FolderWriter {
 public:
  /// Creates the folders above. Error names the target and the cause, or the file in its place.
  explicit FolderWriter(const std::filesystem::path& target);
  FolderWriter(const FolderWriter&) = delete;
  FolderWriter& operator=(const FolderWriter&) = delete;
  ~FolderWriter();

  /// Where to write; exists.
  const std::filesystem::path& folder() const { return temporary_; }
  /// Copies from the folder that is there what was not written anew, except the names for which
  /// `stale` holds and its manifest, which would no longer be true.
  void keep_others(const std::function<bool(std::string_view name)>& stale = {}) const;
  /// A folder that is there is exchanged for the new one in one step and then removed (two renames
  /// on file systems that cannot exchange).
  void commit();

 private:
  std::filesystem::path target_, temporary_;
};

/// Writes manifest.json: size and XXH3 digest of every file in `folder` and in the folders below.
WEFT_API void write_manifest(const std::filesystem::path& folder);

/// Compares a folder with its manifest and returns the names of the files that it lists. Error
/// names the manifest and the first file that differs, with what was expected and what was found.
/// Files that are not listed are left alone.
WEFT_API std::vector<std::string> check_manifest(const std::filesystem::path& folder);

}  // namespace weft::io
