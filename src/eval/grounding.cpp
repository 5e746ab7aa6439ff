#include <algorithm>
#include <tuple>

#include <c10/util/Exception.h>

#include <weft/eval/grounding.hpp>

namespace weft::eval {
namespace {

using data::Box;

/// The IoU of each true box with the box matched to it.
std::vector<double> match_boxes(const std::vector<Box>& boxes, const std::vector<Box>& truths,
                                bool labels) {
  std::vector<std::tuple<double, size_t, size_t>> pairs;  // -IoU, box, truth
  for (size_t b = 0; b < boxes.size(); ++b)
    for (size_t t = 0; t < truths.size(); ++t)
      if (const auto value = data::iou(boxes[b], truths[t]);
          value > 0 && (!labels || boxes[b].label == truths[t].label))
        pairs.emplace_back(-value, b, t);
  std::ranges::sort(pairs);
  std::vector<double> out(truths.size(), 0);
  std::vector<bool> used(boxes.size(), false);
  for (const auto& [value, b, t] : pairs) {
    if (used[b] || out[t] > 0) continue;
    used[b] = true;
    out[t] = -value;
  }
  return out;
}

int64_t count_pointed(const std::vector<data::Point>& points, const std::vector<Box>& truths,
                      bool labels) {
  std::vector<bool> pointed(truths.size(), false);
  for (const auto& point : points) {
    for (size_t t = 0; t < truths.size(); ++t) {
      if (pointed[t] || !data::contains(truths[t], point)) continue;
      if (labels && point.label != truths[t].label) continue;
      pointed[t] = true;
      break;
    }
  }
  return std::ranges::count(pointed, true);
}

double share_of(double part, int64_t whole) {
  return whole > 0 ? part / static_cast<double>(whole) : 0;
}

}  // namespace

GroundingResult grounding(const std::vector<data::GroundedText>& answers,
                          const std::vector<std::vector<Box>>& truths,
                          const GroundingOptions& options) {
  TORCH_CHECK_VALUE(answers.size() == truths.size(),
                    "grounding: expects an answer for each sample, got ", answers.size(), " for ",
                    truths.size());
  TORCH_CHECK_VALUE(options.iou > 0 && options.iou <= 1,
                    "grounding: the IoU must be above 0 and at most 1, got ", options.iou);
  GroundingResult out;
  out.samples = static_cast<int64_t>(truths.size());
  int64_t found = 0, pointed = 0;
  double sum = 0;
  for (size_t i = 0; i < truths.size(); ++i) {
    const auto& answer = answers[i];
    for (const auto value : match_boxes(answer.boxes, truths[i], options.match_labels)) {
      out.iou.push_back(value);
      found += value >= options.iou ? 1 : 0;
      sum += value;
    }
    pointed += count_pointed(answer.points, truths[i], options.match_labels);
    out.boxes += static_cast<int64_t>(answer.boxes.size());
    out.points += static_cast<int64_t>(answer.points.size());
    out.malformed += answer.malformed;
  }
  out.truths = static_cast<int64_t>(out.iou.size());
  out.accuracy = share_of(static_cast<double>(found), out.truths);
  out.precision = share_of(static_cast<double>(found), out.boxes);
  out.mean_iou = share_of(sum, out.truths);
  out.point_accuracy = share_of(static_cast<double>(pointed), out.truths);
  return out;
}

Json GroundingResult::json() const {
  return Json::object({{"accuracy", accuracy},
                       {"precision", precision},
                       {"mean_iou", mean_iou},
                       {"point_accuracy", point_accuracy},
                       {"truths", truths},
                       {"boxes", boxes},
                       {"points", points},
                       {"malformed", malformed},
                       {"samples", samples}});
}

}  // namespace weft::eval
