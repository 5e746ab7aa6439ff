#include <archive.h>
#include <archive_entry.h>

#include <weft/io/file.hpp>
#include <weft/io/tar.hpp>

#include "core/fail.hpp"
#include "io/locale_guard.hpp"

namespace weft::io {

struct TarWriter::Impl {
  explicit Impl(const std::filesystem::path& path) : file_(path) {
    check(archive_write_set_format_pax_restricted(archive_.get()));
    check(archive_write_set_bytes_per_block(archive_.get(), 1 << 18));
    check(archive_write_set_bytes_in_last_block(archive_.get(), 10240));
    check(archive_write_open(archive_.get(), this, nullptr, write, nullptr));
  }
  ~Impl() { discard_ = true; }  // freeing an open archive writes its end

  void add(const std::string& name, std::string_view bytes) {
    if (name.empty() || name.ends_with('/') || name.find('\0') != std::string::npos)
      fail("{}: '{}' is no name of a file", file_.path().string(), name);
    const Utf8Locale utf8;
    const std::unique_ptr<archive_entry, FreeEntry> entry(archive_entry_new());
    archive_entry_copy_pathname(entry.get(), name.c_str());
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(bytes.size()));
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), 0644);
    archive_entry_set_mtime(entry.get(), 0, 0);
    check(archive_write_header(archive_.get(), entry.get()));
    if (archive_write_data(archive_.get(), bytes.data(), bytes.size()) !=
            static_cast<la_ssize_t>(bytes.size()) ||
        !error_.empty())
      fail_write();
  }

  void close() {
    check(archive_write_close(archive_.get()));
    file_.commit();
  }

 private:
  /// Never fails: libarchive does not free the buffers of an archive whose writing has failed.
  static la_ssize_t write(archive*, void* self, const void* bytes, size_t count) {
    auto& impl = *static_cast<Impl*>(self);
    try {
      if (!impl.discard_ && impl.error_.empty())
        impl.file_.write({static_cast<const std::byte*>(bytes), count});
    } catch (const Error& error) {  // must not pass through C
      impl.error_ = error.what();
    }
    return static_cast<la_ssize_t>(count);
  }

  void check(int status) {
    if ((status != ARCHIVE_OK && status != ARCHIVE_WARN) || !error_.empty()) fail_write();
  }
  [[noreturn]] void fail_write() {
    if (!error_.empty()) throw Error(error_);
    const char* cause = archive_error_string(archive_.get());
    fail("{}: cannot be written: {}", file_.path().string(), cause ? cause : "unknown cause");
  }

  struct Free {
    void operator()(archive* a) const { archive_write_free(a); }
  };
  struct FreeEntry {
    void operator()(archive_entry* e) const { archive_entry_free(e); }
  };
  AtomicFile file_;
  std::string error_;
  bool discard_ = false;
  std::unique_ptr<archive, Free> archive_{archive_write_new()};
};

TarWriter::TarWriter(const std::filesystem::path& path) : impl_(std::make_unique<Impl>(path)) {}
TarWriter::TarWriter(TarWriter&&) noexcept = default;
TarWriter& TarWriter::operator=(TarWriter&&) noexcept = default;
TarWriter::~TarWriter() = default;

void TarWriter::add(const std::string& name, std::string_view bytes) { impl_->add(name, bytes); }
void TarWriter::close() { impl_->close(); }

}  // namespace weft::io
