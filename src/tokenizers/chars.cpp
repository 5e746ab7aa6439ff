#include "tokenizers/chars.hpp"

#include <algorithm>

namespace weft::tokenizers {

void apply_changes(const std::vector<Change>& changes, Chars& chars) {
  Chars out;
  out.reserve(changes.size());
  size_t at = 0;
  for (const auto& [code, change] : changes) {
    if (change > 0) {
      out.push_back({code, at > 0 ? chars[at - 1].from : Offset{}});
      continue;
    }
    out.push_back({code, chars[std::min(at, chars.size() - 1)].from});
    at = std::min(at + 1 + static_cast<size_t>(-change), chars.size());
  }
  chars = std::move(out);
}

}  // namespace weft::tokenizers
