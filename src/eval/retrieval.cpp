#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <torch/types.h>

#include <weft/eval/retrieval.hpp>

#include "eval/score_blocks.hpp"

namespace weft::eval {
namespace {

/// Candidates before the best right one, by (score, index). scores [R, C]; right [R, C] bool.
at::Tensor ranks(const at::Tensor& scores, const at::Tensor& right) {
  const auto best =
      scores.masked_fill(~right, -std::numeric_limits<float>::infinity()).amax(1, true);  // [R, 1]
  const auto columns = at::arange(scores.size(1), scores.options().dtype(at::kLong));     // [C]
  const auto first =
      at::where((scores == best) & right, columns, scores.size(1)).amin(1, true);  // [R, 1]
  return ((scores > best) | ((scores == best) & (columns < first))).sum(1);        // [R]
}

/// rank [Q]: right answers' places from 0; negative = the query has none, a miss.
Recall recall(const at::Tensor& rank) {
  const auto found = rank >= 0;
  const auto within = [&](int64_t k) {
    return found.logical_and(rank < k).to(at::kDouble).mean().item<double>();
  };
  Recall out{within(1), within(5), within(10)};
  const auto places = rank.masked_select(found).to(at::kDouble) + 1;
  if (places.numel() == 0) return out;
  out.mean_rank = places.mean().item<double>();
  out.median_rank = std::floor(places.quantile(0.5).item<double>());
  return out;
}

Json json_of(const Recall& r) { return Json::object({{"r1", r.r1}, {"r5", r.r5}, {"r10", r.r10}}); }

}  // namespace

Json RetrievalResult::json() const {
  return Json::object(
      {{"image_to_text", json_of(image_to_text)}, {"text_to_image", json_of(text_to_image)}});
}

std::vector<std::pair<std::string, double>> RetrievalResult::metrics() const {
  std::vector<std::pair<std::string, double>> out;
  for (const auto& [way, r] : {std::pair<std::string, Recall>{"image_to_text_", image_to_text},
                               {"text_to_image_", text_to_image}})
    for (const auto& [name, value] : {std::pair<const char*, double>{"mean_rank", r.mean_rank},
                                      {"median_rank", r.median_rank},
                                      {"R@1", r.r1},
                                      {"R@5", r.r5},
                                      {"R@10", r.r10}})
      out.emplace_back(way + name, value);
  return out;
}

RetrievalResult retrieval(const at::Tensor& image, const at::Tensor& text,
                          const at::Tensor& owners) {
  check_rows("retrieval", image, text);
  const auto images = image.size(0), texts = text.size(0);
  TORCH_CHECK_VALUE(
      owners.dim() == 1 && owners.size(0) == texts && owners.scalar_type() == at::kLong,
      "retrieval: owner must be [", texts, "] int64, got ", owners.sizes(), " ",
      owners.scalar_type());
  const auto owner = owners.to(image.device());
  TORCH_CHECK_VALUE(owner.min().item<int64_t>() >= 0 && owner.max().item<int64_t>() < images,
                    "retrieval: owner must name images 0 to ", images - 1, ", got ",
                    owner.min().item<int64_t>(), " to ", owner.max().item<int64_t>());

  torch::NoGradGuard no_grad;
  const auto index = at::arange(images, owner.options());  // [N]
  std::vector<at::Tensor> image_ranks, text_ranks;
  for_each_block("retrieval", image, text, [&](int64_t first, const at::Tensor& scores) {
    const auto rows = index.narrow(0, first, scores.size(0)).unsqueeze(1);
    const auto right = owner.unsqueeze(0) == rows;  // [R, M]
    image_ranks.push_back(at::where(right.any(1), ranks(scores, right), -1));
  });
  for_each_block("retrieval", text, image, [&](int64_t first, const at::Tensor& scores) {
    const auto mine = owner.narrow(0, first, scores.size(0)).unsqueeze(1);  // [R, 1]
    text_ranks.push_back(ranks(scores, index.unsqueeze(0) == mine));
  });
  return {recall(at::cat(image_ranks)), recall(at::cat(text_ranks))};
}

at::Tensor top_k(const at::Tensor& queries, const at::Tensor& candidates, int64_t k) {
  check_rows("top_k", queries, candidates);
  TORCH_CHECK_VALUE(k > 0, "top_k: k must be positive, got ", k);
  torch::NoGradGuard no_grad;
  k = std::min(k, candidates.size(0));
  auto out = at::empty({queries.size(0), k}, queries.options().dtype(at::kLong));
  for_each_block("top_k", queries, candidates, [&](int64_t first, const at::Tensor& scores) {
    const auto order = std::get<1>(scores.sort(/*stable=*/true, /*dim=*/1, /*descending=*/true));
    out.narrow(0, first, scores.size(0)).copy_(order.narrow(1, 0, k));
  });
  return out;
}

double top1_accuracy(const at::Tensor& scores, const at::Tensor& labels) {
  TORCH_CHECK_VALUE(scores.dim() == 2 && scores.numel() > 0 && labels.dim() == 1 &&
                        labels.size(0) == scores.size(0) && labels.scalar_type() == at::kLong,
                    "top1_accuracy: scores must be [N, C] and labels [N] int64, got ",
                    scores.sizes(), " and ", labels.sizes(), " ", labels.scalar_type());
  return (first_best(scores) == labels.to(scores.device())).to(at::kDouble).mean().item<double>();
}

double pair_accuracy(const at::Tensor& image, const at::Tensor& right, const at::Tensor& wrong) {
  TORCH_CHECK_VALUE(image.dim() == 2 && image.size(0) > 0 && image.sizes() == right.sizes() &&
                        image.sizes() == wrong.sizes(),
                    "pair_accuracy: image, right and wrong must all be [N, E], got ", image.sizes(),
                    ", ", right.sizes(), " and ", wrong.sizes());
  return ((image * right).sum(1) > (image * wrong).sum(1)).to(at::kDouble).mean().item<double>();
}

}  // namespace weft::eval
