#pragma once

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>

#include <fcntl.h>
#include <unistd.h>

#include "core/fail.hpp"

namespace weft::report {

/// Opens for appending; Error names the file and the cause.
inline int open_append(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0) fail("{}: cannot be opened for writing: {}", path.string(), std::strerror(errno));
  return file;
}

/// Writes `buffer` behind the file's end and empties it.
inline void append(int file, const std::filesystem::path& path, std::string& buffer) {
  for (size_t done = 0; done < buffer.size();) {
    const auto count = ::write(file, buffer.data() + done, buffer.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const auto* cause = std::strerror(errno);
      buffer.erase(0, done);
      fail("{}: cannot be written: {}", path.string(), cause);
    }
    done += static_cast<size_t>(count);
  }
  buffer.clear();
}

}  // namespace weft::report
