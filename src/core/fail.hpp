#pragma once

#include <utility>

#include <fmt/format.h>

#include <weft/core/error.hpp>

namespace weft {

/// Throws Error with a formatted message. Inside the library only: fmt stays out of public headers,
/// since libtorch brings another version of it.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

/// The same with another kind of error.
template <class... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...), kind);
}

}  // namespace weft
