#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <weft/core/export.hpp>

namespace weft::io {

struct TarLimits {
  uint64_t max_member_bytes = 1'000'000'000;
  size_t max_name_bytes = 4096;
};

struct TarMember {
  std::string name;
  std::string bytes;
  uint64_t offset = 0;  ///< of its first header in the archive (uncompressed)
};

/// The regular files of a tar archive (ustar, pax, GNU, v7; plain or gzip) in their order. Links,
/// folders and devices are skipped; nothing is written to the disk. Errors name the shard, the
/// offset, the member where its name is known, and the cause:
///   damaged headers, an archive that is cut anywhere (the end-of-archive mark is required), sparse
///   members, and whatever exceeds the limits.
/// The members before the damage are delivered; after an Error, next() gives nothing more.
class WEFT_API TarReader {
 public:
  /// Starts at the member whose header is at `offset` (0 or a TarMember's; plain archives only).
  explicit TarReader(const std::filesystem::path& path, const TarLimits& limits = {},
                     uint64_t offset = 0);
  /// Reads an archive in memory, which must outlive the reader; `name` stands in errors.
  TarReader(std::span<const std::byte> bytes, std::string name, const TarLimits& limits = {});
  TarReader(TarReader&&) noexcept;
  TarReader& operator=(TarReader&&) noexcept;
  ~TarReader();

  std::optional<TarMember> next();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Writes a tar archive (ustar, with pax headers where a name needs them) which is there, whole and
/// on the disk, after close(), and absent without it. Equal members give equal bytes: owner, time
/// and mode are fixed.
class WEFT_API TarWriter {
 public:
  explicit TarWriter(const std::filesystem::path& path);
  TarWriter(TarWriter&&) noexcept;
  TarWriter& operator=(TarWriter&&) noexcept;
  ~TarWriter();

  void add(const std::string& name, std::string_view bytes);
  void close();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft::io
