#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <weft/checkpoint/tensors.hpp>
#include <weft/core/export.hpp>
#include <weft/core/json.hpp>

namespace weft::checkpoint {

/// The whole state of a training run after `step` steps.
struct Snapshot {
  int64_t step = 0;
  std::map<std::string, TensorMap> tensors = {};  ///< "model", "optimizer", "random": a file each
  Json state = Json::object();                    ///< counters, the data stream's position
};

/// The snapshots of a run: folders step-00000123 that hold <name>.safetensors for each set of
/// tensors, state.json, and manifest.json with the size and digest of each file.
///
/// A snapshot appears whole or not at all: files are written and fsynced in a hidden folder, the
/// manifest last, and the folder then takes its name. One that was damaged later is found by its
/// manifest. Whatever stops save(), the earlier snapshots stay. One process writes to a folder.
class WEFT_API Snapshots {
 public:
  /// Keeps the newest `keep` (>= 1). `warn` hears of damaged snapshots that are passed over.
  explicit Snapshots(std::filesystem::path folder, int64_t keep = 2,
                     std::function<void(const std::string&)> warn = {});

  /// Writes step-<step>, in the place of one that is there, then removes the oldest and any later
  /// ones (a run that went back has left their course). Error names the file and the cause; what
  /// was half written is removed.
  std::filesystem::path save(const Snapshot& snapshot) const;

  /// All of them, whole or damaged, oldest first.
  std::vector<std::filesystem::path> list() const;
  /// Reads the newest whole one; nullopt where there is none.
  std::optional<Snapshot> load_latest() const;
  /// Checks every file against the manifest, then copies; tensors are on the CPU. Error names the
  /// file, what was expected and what was found.
  static Snapshot load(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }

 private:
  void remove(const std::filesystem::path& snapshot) const;

  std::filesystem::path folder_;
  size_t keep_;
  std::function<void(const std::string&)> warn_;
};

/// Copies `from` into `into` by name: the same names, shapes and types. One Error, which
/// begins with `where`, lists every missing, unexpected and misshapen tensor.
WEFT_API void copy_tensors(const TensorMap& from,
                           const std::vector<std::pair<std::string, Tensor>>& into,
                           std::string_view where);

}  // namespace weft::checkpoint
