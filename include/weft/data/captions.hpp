#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <weft/core/export.hpp>

namespace weft::data {

/// The captions of WebDataset shards, without a look at the images, in the order of the shards; at
/// most `limit`. What a tokenizer is trained on. Damaged samples are passed over; Error where no
/// caption is left.
WEFT_API std::vector<std::string> read_captions(const std::string& shards,
                                                int64_t limit = 2'000'000);

/// Which of a sample's `count` captions an epoch uses: drawn uniformly from (seed, epoch, key)
/// alone, so that the choice depends neither on ranks nor on what ran before.
WEFT_API size_t draw_caption(int64_t seed, int64_t epoch, std::string_view key, size_t count);

}  // namespace weft::data
