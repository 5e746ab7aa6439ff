#include <weft/data/captions.hpp>
#include <weft/data/stream.hpp>

#include "core/fail.hpp"
#include "data/epoch_order.hpp"

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

size_t draw_caption(int64_t seed, int64_t epoch, std::string_view key, size_t count) {
  auto hash =
      mixed(static_cast<uint64_t>(seed), 0) ^ mixed(static_cast<uint64_t>(epoch) << 1 | 1, 0);
  for (const char c : key) hash = mixed(hash ^ static_cast<unsigned char>(c), 0);
  // The high half of a 128-bit product is uniform without the bias of a remainder's low bits.
  return static_cast<size_t>((static_cast<unsigned __int128>(hash) * count) >> 64);
}

}  // namespace weft::data
