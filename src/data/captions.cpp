#include <weft/data/captions.hpp>
#include <weft/data/stream.hpp>

#include "core/fail.hpp"

namespace weft::data {

std::vector<std::string> read_captions(const std::string& shards, int64_t limit) {
  SampleStream stream({.shards = shards, .needs_image = false});
  std::vector<std::string> out;
  while (const auto sample = stream.next()) {
    try {
      for (auto& caption : captions(*sample)) out.push_back(std::move(caption));
    } catch (const BadSample&) {
      continue;  // whoever trains on the shards counts and reports it
    }
    if (static_cast<int64_t>(out.size()) >= limit) break;
  }
  if (out.empty()) fail("{}: no caption was found: {}", shards, stream.bad().summary());
  out.resize(std::min<size_t>(out.size(), static_cast<size_t>(limit)));
  return out;
}

}  // namespace weft::data
