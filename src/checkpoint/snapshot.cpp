#include <algorithm>
#include <charconv>
#include <system_error>

#include <fmt/ranges.h>

#include <ATen/core/grad_mode.h>

#include <weft/checkpoint/snapshot.hpp>
#include <weft/checkpoint/tensors.hpp>
#include <weft/io/digest.hpp>
#include <weft/io/file.hpp>
#include <weft/io/folder.hpp>

#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kPrefix = "step-", kSaving = ".saving-", kRemoving = ".removing-";
constexpr int kVersion = 1;

std::string folder_name(int64_t step) { return fmt::format("{}{:08}", kPrefix, step); }

std::optional<int64_t> step_of(const fs::path& path) {
  const auto name = path.filename().string();
  int64_t step = 0;
  if (!name.starts_with(kPrefix)) return {};
  const auto* end = name.data() + name.size();
  const auto [stop, code] = std::from_chars(name.data() + kPrefix.size(), end, step);
  return code == std::errc() && stop == end && name == folder_name(step) ? std::optional(step)
                                                                         : std::nullopt;
}

/// Reads the manifest and checks each of its files. Returns their names.
std::vector<std::string> verify(const fs::path& folder) {
  const auto manifest_path = folder / "manifest.json";
  if (!fs::exists(manifest_path))
    fail("{}: manifest.json is missing, so the snapshot is not whole", folder.string());
  const auto manifest = Json::read(manifest_path);
  std::vector<std::string> names;
  try {
    if (const auto version = manifest.at("version").as_int(); version != kVersion)
      fail("version {} is not known; expected {}", version, kVersion);
    const auto files = manifest.at("files");
    for (const auto& name : files.keys()) {
      if (fs::path(name).filename() != name) fail("'{}' is not a plain file name", name);
      const auto path = folder / name;
      std::error_code code;
      const auto size = fs::file_size(path, code);
      if (code) fail("{}: cannot be read: {}", path.string(), code.message());
      const auto entry = files.at(name);
      if (const auto expected = entry.at("bytes").as_int();
          size != static_cast<uintmax_t>(expected))
        fail("{}: expected {} bytes, found {}", path.string(), expected, size);
      const auto expected = entry.at("xxh3_128").as_string(), found = io::file_xxh3_128(path);
      if (expected != found)
        fail("{}: damaged: expected digest {}, found {}", path.string(), expected, found);
      names.push_back(name);
    }
  } catch (const Error& error) {
    fail("{}: {}", manifest_path.string(), error.what());
  }
  return names;
}

Snapshot read_verified(const fs::path& folder, const std::vector<std::string>& names) {
  Snapshot out;
  for (const auto& name : names) {
    if (name == "state.json") {
      const auto state = Json::read(folder / name);
      out.step = state.at("step").as_int();
      out.state = state.at("state");
    } else {
      out.tensors[fs::path(name).stem().string()] = read_tensors(folder / name);
    }
  }
  return out;
}

}  // namespace

Snapshots::Snapshots(fs::path folder, int64_t keep, std::function<void(const std::string&)> warn)
    : folder_(std::move(folder)), keep_(static_cast<size_t>(keep)), warn_(std::move(warn)) {
  TORCH_CHECK_VALUE(keep >= 1, "Snapshots: keep must be at least 1, got ", keep);
}

fs::path Snapshots::save(const Snapshot& snapshot) const {
  std::error_code code;
  fs::create_directories(folder_, code);
  if (code) fail("{}: cannot be made: {}", folder_.string(), code.message());
  const auto target = folder_ / folder_name(snapshot.step);
  const auto saving = folder_ / (std::string(kSaving) + target.filename().string());
  try {
    // What a killed process has left goes first: it may be what fills the disk.
    for (const auto& entry : fs::directory_iterator(folder_)) {
      const auto name = entry.path().filename().string();
      if (name.starts_with(kSaving) || name.starts_with(kRemoving)) fs::remove_all(entry.path());
    }
    fs::create_directory(saving);
    auto files = Json::object();
    const auto add = [&](const std::string& name) {
      const auto path = saving / name;
      files.set(name, Json::object({{"bytes", static_cast<int64_t>(fs::file_size(path))},
                                    {"xxh3_128", io::file_xxh3_128(path)}}));
    };
    for (const auto& [name, tensors] : snapshot.tensors) {
      write_tensors(saving / (name + ".safetensors"), tensors);
      add(name + ".safetensors");
    }
    const auto state = Json::object({{"step", snapshot.step}, {"state", snapshot.state}});
    io::write_file(saving / "state.json", state.dump(2) + "\n");
    add("state.json");
    const auto manifest = Json::object({{"version", kVersion}, {"files", files}});
    io::write_file(saving / "manifest.json", manifest.dump(2) + "\n");
    io::sync_folder(saving);
    // An earlier snapshot of this step trades places, so that there is one at every moment.
    io::replace_folder(saving, target);
  } catch (const fs::filesystem_error& error) {
    fs::remove_all(saving, code);
    fail("{}: the snapshot cannot be written: {}", error.path1().string(), error.code().message());
  } catch (...) {
    fs::remove_all(saving, code);
    throw;
  }
  // What is later than the newest belongs to a course that this run has left.
  auto all = list();
  while (!all.empty() && all.back() != target) {
    remove(all.back());
    all.pop_back();
  }
  for (size_t i = 0; i + keep_ < all.size(); ++i) remove(all[i]);
  return target;
}

void Snapshots::remove(const fs::path& snapshot) const {
  const auto name = std::string(kRemoving) + snapshot.filename().string();
  std::error_code code;
  fs::remove_all(folder_ / name, code);
  fs::rename(snapshot, folder_ / name, code);
  if (!code) fs::remove_all(folder_ / name, code);
  if (code && warn_)
    warn_(fmt::format("{}: cannot be removed: {}", snapshot.string(), code.message()));
}

std::vector<fs::path> Snapshots::list() const {
  std::vector<std::pair<int64_t, fs::path>> found;
  std::error_code code;
  for (fs::directory_iterator entry(folder_, code), end; !code && entry != end;
       entry.increment(code))
    if (const auto step = step_of(entry->path())) found.emplace_back(*step, entry->path());
  std::ranges::sort(found);
  std::vector<fs::path> out;
  for (auto& [step, path] : found) out.push_back(std::move(path));
  return out;
}

std::optional<fs::path> Snapshots::latest() const {
  auto all = list();
  for (auto path = all.rbegin(); path != all.rend(); ++path) {
    try {
      verify(*path);
      return *path;
    } catch (const Error& error) {
      if (warn_) warn_(fmt::format("passed over: {}", error.what()));
    }
  }
  return {};
}

std::optional<Snapshot> Snapshots::load_latest() const {
  auto all = list();
  for (auto path = all.rbegin(); path != all.rend(); ++path) {
    try {
      return load(*path);
    } catch (const Error& error) {
      if (warn_) warn_(fmt::format("passed over: {}", error.what()));
    }
  }
  return {};
}

Snapshot Snapshots::load(const fs::path& folder) { return read_verified(folder, verify(folder)); }

void copy_tensors(const TensorMap& from, const std::vector<std::pair<std::string, Tensor>>& into,
                  std::string_view where) {
  at::NoGradGuard no_grad;
  std::vector<std::string> wrong;
  TensorMap rest = from;
  for (const auto& [name, target] : into) {
    const auto found = rest.find(name);
    if (found == rest.end()) {
      wrong.push_back(name + ": missing");
      continue;
    }
    if (found->second.sizes() != target.sizes())
      wrong.push_back(fmt::format("{}: expected shape [{}], found [{}]", name,
                                  fmt::join(target.sizes(), ", "),
                                  fmt::join(found->second.sizes(), ", ")));
    else if (found->second.scalar_type() != target.scalar_type())
      wrong.push_back(fmt::format("{}: expected {}, found {}", name,
                                  at::toString(target.scalar_type()),
                                  at::toString(found->second.scalar_type())));
    rest.erase(found);
  }
  for (const auto& [name, tensor] : rest) wrong.push_back(name + ": unexpected");
  if (!wrong.empty())
    fail("{}: {} tensors do not fit the model:\n  {}", where, wrong.size(),
         fmt::join(wrong, "\n  "));
  for (const auto& [name, target] : into) Tensor(target).copy_(from.at(name));
}

}  // namespace weft::checkpoint
