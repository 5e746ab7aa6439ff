#include <algorithm>

#include <fmt/ranges.h>

#include <weft/core/options.hpp>
#include <weft/core/registry.hpp>

#include "core/fail.hpp"

namespace weft {
namespace {

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row.back();
}

}  // namespace

std::vector<std::string> nearest(std::string_view name, const std::vector<std::string>& candidates,
                                 size_t count) {
  std::vector<std::pair<size_t, std::string>> ranked;
  for (const auto& candidate : candidates)
    ranked.emplace_back(edit_distance(name, candidate), candidate);
  std::sort(ranked.begin(), ranked.end());
  std::vector<std::string> out;
  for (size_t i = 0; i < std::min(count, ranked.size()); ++i) out.push_back(ranked[i].second);
  return out;
}

namespace detail {

std::string unknown_name(std::string_view where, std::string_view name,
                         const std::vector<std::string>& known) {
  if (known.empty()) return fmt::format("unknown {} '{}'; none is known", where, name);
  return fmt::format("unknown {} '{}'; nearest: {}", where, name,
                     fmt::join(nearest(name, known), ", "));
}

std::string unknown_key(std::string_view where, std::string_view key,
                        const std::vector<std::string>& known) {
  return fmt::format("{}: unknown key '{}'; nearest: {}", where, key,
                     fmt::join(nearest(key, known), ", "));
}

}  // namespace detail
}  // namespace weft
