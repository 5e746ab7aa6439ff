#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <stdio.h>  // renameat2

#include <weft/core/json.hpp>
#include <weft/io/digest.hpp>
#include <weft/io/file.hpp>
#include <weft/io/folder.hpp>

#include "core/fail.hpp"

namespace weft::io {
namespace {

namespace fs = std::filesystem;
constexpr const char* kManifest = "manifest.json";
constexpr int kVersion = 1;

/// Absolute, so that every target has a parent, and without a slash at its end.
fs::path plain(const fs::path& path) {
  auto out = fs::absolute(path).lexically_normal();
  return out.has_filename() ? out : out.parent_path();
}

/// Runs `work`; what the file system refuses becomes an Error.
template <class Work>
void or_fail(const fs::path& target, Work&& work) {
  try {
    work();
  } catch (const fs::filesystem_error& error) {
    fail("{}: cannot be written: {}: {}", target.string(), error.path1().string(),
         error.code().message());
  }
}

void rename_or_fail(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    fail("{}: cannot be renamed to {}: {}", from.string(), to.string(), std::strerror(errno));
}

void replace_folder(const fs::path& from, const fs::path& to) {
  if (!fs::exists(fs::symlink_status(to))) {
    rename_or_fail(from, to);
    return sync_folder(to.parent_path());
  }
  auto old = from;
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) != 0) {
    old = temporary_beside(to);
    rename_or_fail(to, old);
    rename_or_fail(from, to);
  }
  sync_folder(to.parent_path());
  fs::remove_all(old);
}

/// A name that a manifest may list: of a file in its folder or below.
bool inside(const fs::path& name) {
  return !name.empty() && name.is_relative() && name == name.lexically_normal() &&
         *name.begin() != ".." && name.has_filename();
}

void check_file(const fs::path& path, const Json& entry) {
  const auto file = MappedFile::open(path);
  const auto size = file->bytes().size();
  if (const auto expected = entry.at("bytes").as_int(); expected != static_cast<int64_t>(size))
    fail("{}: expected {} bytes, found {}", path.string(), expected, size);
  file->advise_sequential();
  const auto expected = entry.at("xxh3_128").as_string(), found = xxh3_128(file->bytes());
  if (expected != found)
    fail("{}: damaged: expected digest {}, found {}", path.string(), expected, found);
}

}  // namespace

FolderWriter::FolderWriter(const fs::path& target) : target_(plain(target)) {
  std::error_code code;
  if (const auto status = fs::status(target_, code);
      fs::exists(status) && !fs::is_directory(status))
    fail("{}: a folder is to be written here, and a file stands in the way", target_.string());
  fs::create_directories(target_.parent_path(), code);
  temporary_ = temporary_beside(target_);
  if (!code) fs::create_directory(temporary_, code);
  if (code) fail("{}: cannot be created: {}", target_.string(), code.message());
}

FolderWriter::~FolderWriter() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
}

void FolderWriter::keep_others(const std::function<bool(std::string_view name)>& stale) const {
  or_fail(target_, [&] {
    if (!fs::exists(target_)) return;
    for (const auto& entry : fs::directory_iterator(target_)) {
      const auto name = entry.path().filename();
      if (fs::exists(temporary_ / name) || name == kManifest || (stale && stale(name.string())))
        continue;
      fs::copy(entry.path(), temporary_ / name,
               fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    }
  });
}

void FolderWriter::commit() {
  if (temporary_.empty()) fail("{}: is complete already", target_.string());
  or_fail(target_, [&] {
    for (const auto& entry : fs::recursive_directory_iterator(temporary_)) {
      if (entry.is_symlink()) continue;
      entry.is_directory() ? sync_folder(entry.path()) : sync_file(entry.path());
    }
    sync_folder(temporary_);
    replace_folder(temporary_, target_);
  });
  temporary_.clear();
}

void write_manifest(const fs::path& folder) {
  std::vector<fs::path> files;
  or_fail(folder, [&] {
    for (const auto& entry : fs::recursive_directory_iterator(folder))
      if (!entry.is_directory()) files.push_back(entry.path());
  });
  std::ranges::sort(files);
  auto listed = Json::object();
  for (const auto& path : files) {
    const auto file = MappedFile::open(path);
    file->advise_sequential();
    listed.set(path.lexically_relative(folder).string(),
               Json::object({{"bytes", static_cast<uint64_t>(file->bytes().size())},
                             {"xxh3_128", xxh3_128(file->bytes())}}));
  }
  Json::object({{"version", kVersion}, {"files", listed}}).write(folder / kManifest);
}

std::vector<std::string> check_manifest(const fs::path& folder) {
  const auto path = folder / kManifest;
  if (!fs::exists(path))
    fail("{}: manifest.json is missing, so the folder is not whole", folder.string());
  const auto manifest = Json::read(path);
  try {
    if (const auto version = manifest.at("version").as_int(); version != kVersion)
      fail("version {} is not known; expected {}", version, kVersion);
    const auto files = manifest.at("files");
    if (!files.is_object()) fail("files: expected an object, found {}", files.type_name());
    const auto names = files.keys();
    for (const auto& name : names) {
      if (!inside(name)) fail("'{}' does not name a file in this folder", name);
      check_file(folder / name, files.at(name));
    }
    return names;
  } catch (const Error& error) {
    fail("{}: {}", path.string(), error.what());
  }
}

}  // namespace weft::io
