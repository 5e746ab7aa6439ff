#pragma once

#include <cstdint>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/core/json.hpp>
#include <weft/data/grounding.hpp>

namespace weft::eval {

struct GroundingOptions {
  double iou = 0.5;           ///< from here on a box is found
  bool match_labels = false;  ///< only boxes and points of a truth's own label count for it

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("iou", o.iou);
    v("match_labels", o.match_labels);
  }
};

/// All shares are fractions, 0 where there is nothing to share.
struct GroundingResult {
  int64_t samples = 0;
  int64_t truths = 0, boxes = 0, points = 0;  ///< over all samples; the latter two of the answers
  int64_t malformed = 0;                      ///< marks of the answers that could not be read
  double accuracy = 0;        ///< of the true boxes, those found: RefCOCO's Acc@0.5 at one a sample
  double precision = 0;       ///< of the answers' boxes, those that found one
  double mean_iou = 0;        ///< over the true boxes, with the box matched to each, else 0
  double point_accuracy = 0;  ///< of the true boxes, those with a point of the answer inside
  std::vector<double> iou = {};  ///< [truths], in order
  /// {"accuracy", "precision", "mean_iou", "point_accuracy", "truths", "boxes", "points",
  /// "malformed", "samples"}
  WEFT_API Json json() const;
};

/// Answers against the boxes that are really there, truths[i] of sample i, in the pixels of the
/// same image. Each box of an answer is matched to one true box at most, the pair of highest IoU
/// first, equal ones in order; each point counts for the first true box around it that has none.
/// Throws c10::ValueError unless there is an answer a sample and the threshold is in (0, 1].
WEFT_API GroundingResult grounding(const std::vector<data::GroundedText>& answers,
                                   const std::vector<std::vector<data::Box>>& truths,
                                   const GroundingOptions& options = {});

}  // namespace weft::eval
