#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <weft/core/export.hpp>

namespace weft::io {

/// Expands the braces of one pattern, from left to right as shells do: {a,b}, {000000..000006},
/// {0..9..3}, nested and in sequence. A range keeps the width of a bound that starts with 0. Braces
/// without ',' or '..' stay as they are. Error for unbalanced braces and above `max_count` results.
WEFT_API std::vector<std::string> expand_braces(std::string_view pattern,
                                                size_t max_count = 1'000'000);

/// The files that a pattern names: patterns joined by "::", each with braces, and with '*' and '?'
/// in any component (never across '/', never a leading '.'). The order is that of the pattern;
/// wildcards give sorted names. A name without wildcards need not exist, so that a missing shard is
/// reported where it is read; but Error, which names the pattern, where not one file exists or a
/// wildcard matches nothing.
WEFT_API std::vector<std::string> expand_paths(std::string_view pattern,
                                               size_t max_count = 1'000'000);

}  // namespace weft::io
