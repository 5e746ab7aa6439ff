#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/data/conversation_loader.hpp>
#include <weft/data/sample.hpp>
#include <weft/models/vlm.hpp>
#include <weft/nn/precision.hpp>
#include <weft/report/console.hpp>

namespace weft::eval {

struct VisualFeatureOptions {
  int64_t batch_size = 64;                        ///< images
  int64_t workers = 2;                            ///< threads that read images, 0 = the calling one
  nn::Precision precision = nn::Precision::fp32;  ///< of the tower and of what is kept
  int64_t max_bytes = int64_t{4} << 30;           ///< of what is kept
  std::function<void(int64_t done)> progress = {};  ///< images whose features are there
  report::Console* console = nullptr;               ///< shows a progress line meanwhile
};

/// What a vision-language model's tower gives for images that are read many times, in runs that do
/// not change the tower: it runs once an image.
class WEFT_API VisualFeatures {
 public:
  /// Images 0 .. count - 1. Nothing where they would take more than options.max_bytes, which the
  /// first batch tells. Images that throw BadSample do so again in read().
  static std::optional<VisualFeatures> compute(models::VlmImpl& model, int64_t count,
                                               const data::ReadVisual& read,
                                               const VisualFeatureOptions& options);

  /// As `read` was, without pixels. The features must outlive what it is given to.
  data::ReadVisual reader() const;
  /// As VlmImpl::see() of these images, in their order: tokens [tiles, N, F].
  EncoderOutput of(const std::vector<int64_t>& numbers) const;
  int64_t bytes() const { return static_cast<int64_t>(tokens_.nbytes()); }

 private:
  at::Tensor tokens_ = {};                      // [tiles, N, F]
  std::vector<int64_t> first_ = {0};            // [I + 1], the first tile of each image
  std::vector<data::VisualInput> inputs_ = {};  // without pixels
  std::map<int64_t, data::BadSample> bad_ = {};
};

}  // namespace weft::eval
