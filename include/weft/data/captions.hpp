#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <weft/core/export.hpp>

namespace weft::data {

/// The captions of WebDataset shards, without a look at the images, in the order of the shards; at
/// most `limit`. What a tokenizer is trained on. Damaged samples are passed over; Error where no
/// caption is left.
WEFT_API std::vector<std::string> read_captions(const std::string& shards,
                                                int64_t limit = 2'000'000);

}  // namespace weft::data
