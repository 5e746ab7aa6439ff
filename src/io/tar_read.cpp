#include <algorithm>

#include <archive.h>
#include <archive_entry.h>

#include <weft/io/file.hpp>
#include <weft/io/tar.hpp>

#include "core/fail.hpp"
#include "io/locale_guard.hpp"

namespace weft::io {

struct TarReader::Impl {
  Impl(std::span<const std::byte> bytes, std::string name, const TarLimits& limits, uint64_t base)
      : bytes_(bytes), name_(std::move(name)), limits_(limits), base_(base) {
    if (bytes_.empty()) fail("{}: expected a tar archive, found an empty file", name_);
    if (base_ > bytes_.size())
      fail("{}: expected a member at byte {}, found only {} bytes; is the archive cut?", name_,
           base_, bytes_.size());
    gzip_ = bytes_.size() >= 2 && bytes_[0] == std::byte{0x1f} && bytes_[1] == std::byte{0x8b};
    if (gzip_ && base_ > 0)
      fail("{}: is compressed, so reading cannot start at byte {}", name_, base_);
    if (!archive_) fail("{}: out of memory", name_);
    check(archive_read_support_format_tar(archive_.get()));
    // Another result than OK means that a program would be started to decompress.
    if (gzip_ && archive_read_support_filter_gzip(archive_.get()) != ARCHIVE_OK)
      fail("{}: is compressed by gzip, which this libarchive was built without", name_);
    const auto rest = bytes_.subspan(base_);
    check(archive_read_open_memory(archive_.get(), rest.data(), rest.size()));
  }

  std::optional<TarMember> next() {
    if (done_) return std::nullopt;
    done_ = true;  // stays so where an Error leaves this function
    const Utf8Locale utf8;
    for (;;) {
      archive_entry* entry = nullptr;
      const auto status = archive_read_next_header(archive_.get(), &entry);
      if (status == ARCHIVE_EOF) {
        check_end();
        return std::nullopt;
      }
      if (status != ARCHIVE_OK && status != ARCHIVE_WARN)
        fail("{}: damaged at byte {}: {}", name_, offset(), cause());
      const char* name = archive_entry_pathname(entry);
      if (!name) fail("{}: damaged at byte {}: a member without a name", name_, offset());
      std::string_view member = name;
      if (member.size() > limits_.max_name_bytes)
        fail("{}: at byte {}: a member's name has {} bytes, more than the limit of {}", name_,
             offset(), member.size(), limits_.max_name_bytes);
      if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry)) continue;
      TarMember out{.name = std::string(member), .bytes = {}, .offset = offset()};
      read(out, static_cast<uint64_t>(std::max<int64_t>(archive_entry_size(entry), 0)));
      done_ = false;
      return out;
    }
  }

 private:
  void read(TarMember& out, uint64_t size) {
    if (size > limits_.max_member_bytes)
      fail("{}: at byte {}: the member '{}' has {} bytes, more than the limit of {}", name_,
           out.offset, out.name, size, limits_.max_member_bytes);
    // The size is a claim of the file: memory is taken only for what can be there.
    if (!gzip_) {
      if (size > bytes_.size() - std::min<uint64_t>(out.offset, bytes_.size())) cut(out, size);
      out.bytes.reserve(size);
    }
    // Padding behind the last byte is the next member's affair.
    while (out.bytes.size() < size) {
      const void* block = nullptr;
      size_t count = 0;
      la_int64_t position = 0;
      const auto status = archive_read_data_block(archive_.get(), &block, &count, &position);
      if (status == ARCHIVE_EOF) cut(out, size);
      if (status != ARCHIVE_OK && status != ARCHIVE_WARN)
        fail("{}: at byte {}: the member '{}' of {} bytes is damaged after {}: {}", name_,
             out.offset, out.name, size, out.bytes.size(), cause());
      if (position != static_cast<la_int64_t>(out.bytes.size()) || count > size - out.bytes.size())
        fail("{}: at byte {}: the member '{}' is sparse, which is not supported", name_, out.offset,
             out.name);
      out.bytes.append(static_cast<const char*>(block), count);
    }
  }

  [[noreturn]] void cut(const TarMember& member, uint64_t size) {
    fail(
        "{}: at byte {}: the member '{}' should have {} bytes, but the archive ends before; is it "
        "cut?",
        name_, member.offset, member.name, size);
  }

  /// A tar archive ends in a block of zeros; libarchive takes the end of the file for it as well.
  void check_end() {
    const auto start = archive_read_header_position(archive_.get());
    if (archive_filter_bytes(archive_.get(), 0) <= start)
      fail(
          "{}: expected a member or the end-of-archive mark at byte {}, found the end of the "
          "file; is the archive cut?",
          name_, offset());
  }

  uint64_t offset() {
    return base_ + static_cast<uint64_t>(archive_read_header_position(archive_.get()));
  }
  std::string cause() {
    const char* text = archive_error_string(archive_.get());
    return text ? text : "unknown cause";
  }
  void check(int status) {
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN)
      fail("{}: cannot be read as a tar archive: {}", name_, cause());
  }

  struct Free {
    void operator()(archive* a) const { archive_read_free(a); }
  };
  std::span<const std::byte> bytes_;
  std::string name_;
  TarLimits limits_;
  uint64_t base_;
  std::unique_ptr<archive, Free> archive_{archive_read_new()};
  bool gzip_ = false, done_ = false;

 public:
  std::shared_ptr<MappedFile> file;  // null for archives in memory
};

TarReader::TarReader(const std::filesystem::path& path, const TarLimits& limits, uint64_t offset) {
  auto file = MappedFile::open(path);
  file->advise_sequential();
  impl_ = std::make_unique<Impl>(file->bytes(), path.string(), limits, offset);
  impl_->file = std::move(file);
}
TarReader::TarReader(std::span<const std::byte> bytes, std::string name, const TarLimits& limits)
    : impl_(std::make_unique<Impl>(bytes, std::move(name), limits, 0)) {}
TarReader::TarReader(TarReader&&) noexcept = default;
TarReader& TarReader::operator=(TarReader&&) noexcept = default;
TarReader::~TarReader() = default;

std::optional<TarMember> TarReader::next() { return impl_->next(); }

}  // namespace weft::io
