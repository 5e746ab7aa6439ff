#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/core/json.hpp>
#include <weft/eval/features.hpp>
#include <weft/report/html.hpp>

namespace weft::eval {

/// What a model retrieves for the first images of a split. image [N, E] and text [M, E] are unit
/// rows of `pairs`; pixels [K, 3, S, S] uint8 are the first K images, which become the thumbnails.
WEFT_API std::vector<report::RetrievalExample> retrieval_examples(const at::Tensor& image,
                                                                  const at::Tensor& text,
                                                                  const PairFeatures& pairs,
                                                                  const at::Tensor& pixels,
                                                                  int64_t top = 5);

/// report.html of a contrastive run: results, curves from the folder's metrics.jsonl, retrieved
/// captions beside their images, the configuration. `result` is the program's last line.
WEFT_API std::filesystem::path write_clip_report(
    const std::filesystem::path& run, const Json& result, const Json& config,
    const std::vector<report::RetrievalExample>& examples);

}  // namespace weft::eval
