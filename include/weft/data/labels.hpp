#pragma once

#include <cstdint>
#include <string>

#include <weft/core/export.hpp>
#include <weft/data/image_text.hpp>

namespace weft::data {

/// One more than the largest label of WebDataset shards, without a look at the images. Damaged
/// samples are passed over; Error (bad_data) where no label is left.
WEFT_API int64_t count_classes(const std::string& shards);

/// Holds a batch to labels of 0 to classes - 1. Error names the first sample with another; throws
/// c10::ValueError where the loader does not read labels.
WEFT_API void check_labels(const ImageTextBatch& batch, int64_t classes);

}  // namespace weft::data
