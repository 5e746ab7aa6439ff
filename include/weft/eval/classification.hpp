#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/core/json.hpp>

namespace weft::eval {

/// How well scores name the class of each sample. All shares are fractions.
struct ClassificationResult {
  int64_t samples = 0;
  double top1 = 0;
  double top5 = 0;                   ///< the label is among the 5 highest (among all where C < 5)
  double mean_per_class_recall = 0;  ///< over the classes that have samples
  std::vector<double> recall = {};   ///< [C]; NaN for a class without samples
  at::Tensor confusion = {};         ///< [C, C] int64: samples of class r that were taken for c

  /// {"<task>-val-top1", "<task>-val-top5", "mean_per_class_recall", "classes", "per_class": [C],
  /// "confusion": [C][C] up to 100 classes}. The first two are named as open_clip's
  /// zero-shot evaluation names them, less the data set in front. Without names, "classes" is their
  /// number.
  WEFT_API Json json(const std::string& task, const std::vector<std::string>& names = {}) const;
};

/// Gathers a ClassificationResult block by block. Equal scores rank by class, lowest first.
class WEFT_API ClassCounts {
 public:
  explicit ClassCounts(int64_t classes);
  /// scores [B, C], any floating type; labels [B] int64. Throws c10::ValueError on other shapes, on
  /// labels outside [0, C) and on scores that are not finite.
  void add(const at::Tensor& scores, const at::Tensor& labels);
  ClassificationResult result() const;

 private:
  int64_t classes_, top1_ = 0, top5_ = 0;
  at::Tensor confusion_;  // [C, C], CPU
};

/// The same of scores [N, C] that are all there.
WEFT_API ClassificationResult classification(const at::Tensor& scores, const at::Tensor& labels);

}  // namespace weft::eval
