#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

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

fs::path without_slash(const fs::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

fs::path parent_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

void rename_or_fail(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    fail("{}: cannot be renamed to {}: {}", from.string(), to.string(), std::strerror(errno));
}

}  // namespace

void replace_folder(const fs::path& temporary, const fs::path& final_path) {
  const auto from = without_slash(temporary), to = without_slash(final_path);
  const auto parent = parent_of(to);
  if (!fs::exists(fs::symlink_status(to))) {
    rename_or_fail(from, to);
    return sync_folder(parent);
  }
  auto old = from;
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) != 0) {
    old = temporary_beside(to);
    rename_or_fail(to, old);
    rename_or_fail(from, to);
  }
  sync_folder(parent);
  fs::remove_all(old);
}

FolderWriter::FolderWriter(fs::path final_path) : final_(without_slash(final_path)) {
  std::error_code code;
  fs::create_directories(parent_of(final_), code);
  temporary_ = temporary_beside(final_);
  if (!code) fs::create_directory(temporary_, code);
  if (code) fail("{}: cannot be created: {}", final_.string(), code.message());
}

FolderWriter::~FolderWriter() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
}

void FolderWriter::commit() {
  if (temporary_.empty()) fail("{}: is complete already", final_.string());
  std::vector<fs::path> files, folders = {temporary_};
  for (const auto& entry : fs::recursive_directory_iterator(temporary_))
    (entry.is_directory() ? folders : files).push_back(entry.path());
  std::sort(files.begin(), files.end());
  auto listed = Json::object();
  for (const auto& file : files) {
    sync_file(file);
    listed.set(file.lexically_relative(temporary_).string(),
               Json::object({{"bytes", static_cast<uint64_t>(fs::file_size(file))},
                             {"xxh3_128", file_xxh3_128(file)}}));
  }
  for (const auto& folder : folders) sync_folder(folder);
  write_file(temporary_ / kManifest, Json::object({{"files", listed}}).dump(2) + "\n");
  replace_folder(temporary_, final_);
  temporary_.clear();
}

void check_folder(const fs::path& folder, bool digests) {
  const auto manifest = folder / FolderWriter::kManifest;
  const auto files = Json::read(manifest).get("files");
  if (!files.is_object()) fail("{}: expected an object 'files'", manifest.string());
  for (const auto& name : files.keys()) {
    const auto path = folder / name;
    const auto file = MappedFile::open(path);
    const auto entry = files.at(name);
    const auto size = entry.at("bytes").as_int();
    if (static_cast<uint64_t>(size) != file->bytes().size())
      fail("{}: {} bytes, but {} lists {}", path.string(), file->bytes().size(), manifest.string(),
           size);
    if (!digests) continue;
    const auto found = xxh3_128(file->bytes()), expected = entry.at("xxh3_128").as_string();
    if (found != expected)
      fail("{}: is damaged: xxh3_128 {}, but {} lists {}", path.string(), found, manifest.string(),
           expected);
  }
}

}  // namespace weft::io
