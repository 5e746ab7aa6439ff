#include <atomic>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <weft/io/file.hpp>

#include "core/fail.hpp"

namespace weft::io {
namespace {

namespace fs = std::filesystem;

/// An open descriptor that closes itself.
class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags) : value_(::open(path.c_str(), flags | O_CLOEXEC)) {
    if (value_ < 0) fail("{}: cannot be opened: {}", path.string(), std::strerror(errno));
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { ::close(value_); }
  operator int() const { return value_; }  // NOLINT(google-explicit-constructor)

 private:
  int value_;
};

/// The size of a regular file; pipes and devices have none, and a folder is no file.
uint64_t regular_size(int file, const fs::path& path) {
  struct stat status = {};
  if (::fstat(file, &status) != 0)
    fail("{}: cannot be read: {}", path.string(), std::strerror(errno));
  if (S_ISDIR(status.st_mode)) fail("{}: is a folder, expected a file", path.string());
  if (!S_ISREG(status.st_mode)) fail("{}: is not a regular file", path.string());
  return static_cast<uint64_t>(status.st_size);
}

void sync(const fs::path& path, int flags) {
  const Descriptor file(path, O_RDONLY | flags);
  if (::fsync(file) != 0) fail("{}: cannot be synced: {}", path.string(), std::strerror(errno));
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

}  // namespace

std::shared_ptr<MappedFile> MappedFile::open(const fs::path& path) {
  // O_NONBLOCK: opening a pipe must not wait for a writer.
  const Descriptor file(path, O_RDONLY | O_NONBLOCK);
  const auto size = regular_size(file, path);
  std::span<const std::byte> bytes;
  if (size > 0) {
    void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
    if (address == MAP_FAILED)
      fail("{}: cannot be mapped: {}", path.string(), std::strerror(errno));
    bytes = {static_cast<const std::byte*>(address), size};
  }
  return std::shared_ptr<MappedFile>(new MappedFile(path, bytes));
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void MappedFile::advise_sequential() const {
  if (!bytes_.empty())
    ::madvise(const_cast<std::byte*>(bytes_.data()), bytes_.size(), MADV_SEQUENTIAL);
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  temporary_ = temporary_beside(path_);
  file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file_ < 0) fail("{}: cannot be created: {}", path_.string(), std::strerror(errno));
}

AtomicFile::~AtomicFile() {
  if (file_ < 0) return;
  ::close(file_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  if (file_ < 0) fail("{}: is complete already", path_.string());
  while (!bytes.empty()) {
    const auto count = ::write(file_, bytes.data(), bytes.size());
    if (count < 0) {
      if (errno == EINTR) continue;
      fail("{}: cannot be written: {}", path_.string(), std::strerror(errno));
    }
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
}

void AtomicFile::commit() {
  if (file_ < 0) fail("{}: is complete already", path_.string());
  if (::fsync(file_) != 0) fail("{}: cannot be synced: {}", path_.string(), std::strerror(errno));
  if (::rename(temporary_.c_str(), path_.c_str()) != 0)
    fail("{}: cannot be replaced: {}", path_.string(), std::strerror(errno));
  ::close(file_);
  file_ = -1;
  sync_folder(folder_of(path_));
}

std::string read_file(const fs::path& path, uint64_t max_bytes) {
  const Descriptor file(path, O_RDONLY | O_NONBLOCK);
  const auto size = regular_size(file, path);
  if (size > max_bytes)
    fail("{}: {} bytes, more than the limit of {}", path.string(), size, max_bytes);
  std::string out(size, '\0');
  size_t done = 0;
  while (done < out.size()) {
    const auto count = ::read(file, out.data() + done, out.size() - done);
    if (count < 0) {
      if (errno == EINTR) continue;
      fail("{}: cannot be read: {}", path.string(), std::strerror(errno));
    }
    if (count == 0) fail("{}: ends after {} of {} bytes", path.string(), done, size);
    done += static_cast<size_t>(count);
  }
  return out;
}

void write_file(const fs::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void sync_file(const fs::path& path) { sync(path, 0); }
void sync_folder(const fs::path& path) { sync(path, O_DIRECTORY); }

fs::path temporary_beside(const fs::path& path) {
  static std::atomic<uint64_t> counter = 0;
  const auto plain = path.has_filename() ? path : path.parent_path();
  // A name of another run with the same process number may remain after a kill.
  for (;;) {
    auto name = folder_of(plain) /
                fmt::format(".{}.{}-{}.tmp", plain.filename().string(), ::getpid(), counter++);
    if (!fs::exists(fs::symlink_status(name))) return name;
  }
}

}  // namespace weft::io
