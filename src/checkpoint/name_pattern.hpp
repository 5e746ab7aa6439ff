#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace weft::checkpoint {

using Captures = std::map<std::string, std::string, std::less<>>;

/// The captures where `name` has the form of `pattern` (see KeyMap), else nothing.
std::optional<Captures> match(std::string_view pattern, std::string_view name);
/// `pattern` with its captures filled in.
std::string fill(std::string_view pattern, const Captures& captures);

}  // namespace weft::checkpoint
