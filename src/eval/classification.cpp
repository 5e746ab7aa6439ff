#include <cmath>
#include <limits>

#include <torch/types.h>

#include <weft/eval/classification.hpp>

#include "eval/score_blocks.hpp"

namespace weft::eval {
namespace {

constexpr size_t kLargestConfusion = 100;

}  // namespace

ClassCounts::ClassCounts(int64_t classes) : classes_(classes) {
  TORCH_CHECK_VALUE(classes > 0, "ClassCounts: needs at least one class, got ", classes);
  confusion_ = at::zeros({classes, classes}, at::kLong);
}

void ClassCounts::add(const at::Tensor& scores, const at::Tensor& labels) {
  TORCH_CHECK_VALUE(scores.dim() == 2 && scores.size(1) == classes_ && labels.dim() == 1 &&
                        labels.size(0) == scores.size(0) && labels.scalar_type() == at::kLong,
                    "ClassCounts: scores must be [B, ", classes_, "] and labels [B] int64, got ",
                    scores.sizes(), " and ", labels.sizes(), " ", labels.scalar_type());
  if (labels.numel() == 0) return;
  const torch::NoGradGuard no_grad;
  TORCH_CHECK_VALUE(scores.isfinite().all().item<bool>(), "ClassCounts: scores must be finite");
  const auto low = labels.min().item<int64_t>(), high = labels.max().item<int64_t>();
  TORCH_CHECK_VALUE(low >= 0 && high < classes_, "ClassCounts: labels must be 0 to ", classes_ - 1,
                    ", got ", low, " to ", high);
  const auto label = labels.to(scores.device()).unsqueeze(1);                  // [B, 1]
  const auto columns = at::arange(classes_, label.options());                  // [C]
  const auto own = scores.gather(1, label);                                    // [B, 1]
  const auto before = (scores > own) | ((scores == own) & (columns < label));  // [B, C]
  const auto rank = before.sum(1);                                             // [B]
  const auto first = first_best(scores);
  top1_ += (rank < 1).sum().item<int64_t>();
  top5_ += (rank < 5).sum().item<int64_t>();
  const auto place = (label.squeeze(1) * classes_ + first).cpu();  // [B]
  confusion_.view(-1).index_add_(0, place, at::ones_like(place));
}

ClassificationResult ClassCounts::result() const {
  ClassificationResult out;
  out.confusion = confusion_.clone();
  out.samples = confusion_.sum().item<int64_t>();
  if (out.samples == 0) return out;
  out.top1 = static_cast<double>(top1_) / static_cast<double>(out.samples);
  out.top5 = static_cast<double>(top5_) / static_cast<double>(out.samples);
  const auto counts = confusion_.accessor<int64_t, 2>();
  double sum = 0, present = 0;
  for (int64_t c = 0; c < classes_; ++c) {
    int64_t all = 0;
    for (int64_t p = 0; p < classes_; ++p) all += counts[c][p];
    out.recall.push_back(all > 0 ? static_cast<double>(counts[c][c]) / static_cast<double>(all)
                                 : std::numeric_limits<double>::quiet_NaN());
    if (all > 0) sum += out.recall.back(), ++present;
  }
  out.mean_per_class_recall = sum / present;
  return out;
}

Json ClassificationResult::json(const std::string& task,
                                const std::vector<std::string>& names) const {
  auto per_class = Json::array();
  for (const double r : recall) per_class.push_back(std::isnan(r) ? Json() : Json(r));
  auto out = Json::object({{task + "-val-top1", top1},
                           {task + "-val-top5", top5},
                           {"mean_per_class_recall", mean_per_class_recall},
                           {"classes", names.empty() ? Json(recall.size()) : Json(names)},
                           {"per_class", per_class}});
  if (recall.size() > kLargestConfusion) return out;
  const auto counts = confusion.accessor<int64_t, 2>();
  auto table = Json::array();
  for (int64_t c = 0; c < confusion.size(0); ++c) {
    auto row = Json::array();
    for (int64_t p = 0; p < confusion.size(1); ++p) row.push_back(counts[c][p]);
    table.push_back(row);
  }
  return out.set("confusion", table);
}

ClassificationResult classification(const at::Tensor& scores, const at::Tensor& labels) {
  TORCH_CHECK_VALUE(scores.dim() == 2 && scores.numel() > 0,
                    "classification: scores must be [N, C], got ", scores.sizes());
  ClassCounts counts(scores.size(1));
  counts.add(scores, labels);
  return counts.result();
}

}  // namespace weft::eval
