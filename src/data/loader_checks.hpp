#pragma once

#include <cstdint>

#include "core/fail.hpp"

namespace weft::data {

/// Error (usage) where an option is below what it can be.
inline void check_at_least(const char* name, int64_t value, int64_t least) {
  if (value < least)
    fail(ErrorKind::usage, "{}: expected at least {}, found {}", name, least, value);
}

/// What the options of all loaders have in common.
template <class Options>
void check_loader(const Options& o) {
  check_at_least("batch_size", o.batch_size, 1);
  check_at_least("workers", o.workers, 0);
  check_at_least("prefetch", o.prefetch, 1);
  check_at_least("world", o.world, 1);
  if (o.rank < 0 || o.rank >= o.world)
    fail(ErrorKind::usage, "rank: expected 0 to {} (world {}), found {}", o.world - 1, o.world,
         o.rank);
  if (!(o.max_bad_fraction >= 0 && o.max_bad_fraction <= 1))
    fail(ErrorKind::usage, "max_bad_fraction: expected 0 to 1, found {}", o.max_bad_fraction);
}

}  // namespace weft::data
