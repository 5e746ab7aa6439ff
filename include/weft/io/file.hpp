#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <weft/core/export.hpp>

namespace weft::io {

/// A regular file mapped for reading. A file that another program shortens while it is mapped ends
/// the process with SIGBUS, as with every mapping; weft itself never writes a file in place.
class WEFT_API MappedFile {
 public:
  /// Error names the file and the cause.
  static std::shared_ptr<MappedFile> open(const std::filesystem::path& path);
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }
  const std::filesystem::path& path() const { return path_; }
  /// Tells the system that the file will be read from front to end, once.
  void advise_sequential() const;

 private:
  MappedFile(std::filesystem::path path, std::span<const std::byte> bytes)
      : path_(std::move(path)), bytes_(bytes) {}
  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
};

/// A file that appears whole or not at all: bytes go to a temporary file in the same folder, which
/// takes the name on commit(). Without commit() nothing remains.
class WEFT_API AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  void write(std::span<const std::byte> bytes);
  void write(std::string_view bytes) { write(std::as_bytes(std::span(bytes))); }
  /// fsync, rename, fsync of the folder.
  void commit();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_, temporary_;
  int file_ = -1;
};

/// The whole file; Error where it is longer than `max_bytes`.
WEFT_API std::string read_file(const std::filesystem::path& path, uint64_t max_bytes = 100'000'000);
/// Writes through an AtomicFile: whole or absent, and on the disk when this returns.
WEFT_API void write_file(const std::filesystem::path& path, std::string_view bytes);

/// fsync.
WEFT_API void sync_file(const std::filesystem::path& path);
/// fsync of the folder itself: its names, not the files in it.
WEFT_API void sync_folder(const std::filesystem::path& path);

/// An unused hidden name beside `path`, for what is renamed to it later.
WEFT_API std::filesystem::path temporary_beside(const std::filesystem::path& path);

}  // namespace weft::io
