// What main() of every program here ends in.
#pragma once

#include <functional>

#include <c10/util/Exception.h>

#include <weft/core/error.hpp>
#include <weft/core/flags.hpp>

/// weft::run_program, where a value outside its range (what modules, ops and options throw) is
/// wrong use as well: exit status 2.
inline int run_program(const char* name, const std::function<int()>& body) {
  return weft::run_program(name, [&] {
    try {
      return body();
    } catch (const c10::ValueError& error) {
      throw weft::Error(error.msg(), weft::ErrorKind::usage);
    }
  });
}
