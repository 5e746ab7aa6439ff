#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <weft/core/export.hpp>

/// Strings as Python's `str` handles them, for the metrics that are defined by Python programs.
/// Invalid UTF-8 is read as U+FFFD.
namespace weft::tokenizers {

/// text.lower()
WEFT_API std::string python_lower(std::string_view text);

/// text.split()
WEFT_API std::vector<std::string> python_split(std::string_view text);

/// text.strip()
WEFT_API std::string python_strip(std::string_view text);

}  // namespace weft::tokenizers
