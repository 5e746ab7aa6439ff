#include <algorithm>
#include <charconv>
#include <system_error>

#include <fmt/ranges.h>

#include <ATen/core/grad_mode.h>

#include <weft/checkpoint/snapshot.hpp>
#include <weft/checkpoint/tensors.hpp>
#include <weft/io/file.hpp>
#include <weft/io/folder.hpp>

#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kPrefix = "step-", kState = "state.json";

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

/// What a killed process has left, and what could not be removed.
bool is_left_over(const fs::path& path) {
  const auto name = path.filename().string();
  return name.starts_with(".step-") && name.ends_with(".tmp");
}

}  // namespace

Snapshots::Snapshots(fs::path folder, int64_t keep, std::function<void(const std::string&)> warn)
    : folder_(std::move(folder)), keep_(static_cast<size_t>(keep)), warn_(std::move(warn)) {
  TORCH_CHECK_VALUE(keep >= 1, "Snapshots: keep must be at least 1, got ", keep);
}

fs::path Snapshots::save(const Snapshot& snapshot) const {
  // What a killed process has left goes first: it may be what fills the disk.
  std::error_code code;
  std::vector<fs::path> left_over;
  for (const auto& entry : fs::directory_iterator(folder_, code))
    if (is_left_over(entry.path())) left_over.push_back(entry.path());
  for (const auto& path : left_over) fs::remove_all(path, code);
  const auto target = folder_ / folder_name(snapshot.step);
  io::FolderWriter writer(target);
  for (const auto& [name, tensors] : snapshot.tensors)
    write_tensors(writer.folder() / (name + ".safetensors"), tensors);
  Json::object({{"step", snapshot.step}, {"state", snapshot.state}})
      .write(writer.folder() / kState);
  io::write_manifest(writer.folder());
  writer.commit();
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
  // Under another name first, so that a kill leaves none that is half removed.
  const auto removed = io::temporary_beside(snapshot);
  std::error_code code;
  fs::rename(snapshot, removed, code);
  if (!code) fs::remove_all(removed, code);
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

Snapshot Snapshots::load(const fs::path& folder) {
  Snapshot out;
  bool complete = false;
  for (const auto& name : io::check_manifest(folder)) {
    if (name == kState) {
      const auto state = Json::read(folder / name);
      out.step = state.at("step").as_int();
      out.state = state.at("state");
      complete = true;
    } else {
      out.tensors[fs::path(name).stem().string()] = read_tensors(folder / name);
    }
  }
  if (!complete) fail("{}: the manifest does not list {}", folder.string(), kState);
  return out;
}

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
