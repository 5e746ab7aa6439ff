#include <algorithm>
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

Recall recall(const at::Tensor& hits, int64_t count) {
  const auto at_k = [&](int64_t i) { return static_cast<double>(hits[i].item<int64_t>()) / count; };
  return {at_k(0), at_k(1), at_k(2)};
}

at::Tensor hits_of(const at::Tensor& rank) {
  return at::stack({(rank < 1).sum(), (rank < 5).sum(), (rank < 10).sum()});
}

Json json_of(const Recall& r) { return Json::object({{"r1", r.r1}, {"r5", r.r5}, {"r10", r.r10}}); }

}  // namespace

Json RetrievalResult::json() const {
  return Json::object(
      {{"image_to_text", json_of(image_to_text)}, {"text_to_image", json_of(text_to_image)}});
}

std::vector<std::pair<std::string, double>> RetrievalResult::metrics() const {
  return {{"image_to_text_R@1", image_to_text.r1},   {"image_to_text_R@5", image_to_text.r5},
          {"image_to_text_R@10", image_to_text.r10}, {"text_to_image_R@1", text_to_image.r1},
          {"text_to_image_R@5", text_to_image.r5},   {"text_to_image_R@10", text_to_image.r10}};
}

RetrievalResult retrieval(const at::Tensor& image, const at::Tensor& text,
                          const at::Tensor& owner) {
  check_rows("retrieval", image, text);
  const auto images = image.size(0), texts = text.size(0);
  TORCH_CHECK_VALUE(owner.dim() == 1 && owner.size(0) == texts && owner.scalar_type() == at::kLong,
                    "retrieval: owner must be [", texts, "] int64, got ", owner.sizes(), " ",
                    owner.scalar_type());
  TORCH_CHECK_VALUE(owner.min().item<int64_t>() >= 0 && owner.max().item<int64_t>() < images,
                    "retrieval: owner must name images 0 to ", images - 1, ", got ",
                    owner.min().item<int64_t>(), " to ", owner.max().item<int64_t>());

  torch::NoGradGuard no_grad;
  const auto index = at::arange(images, owner.options());  // [N]
  auto image_hits = at::zeros({3}, owner.options()), text_hits = at::zeros({3}, owner.options());
  for_each_block("retrieval", image, text, [&](int64_t first, const at::Tensor& scores) {
    const auto rows = index.narrow(0, first, scores.size(0)).unsqueeze(1);
    const auto right = owner.unsqueeze(0) == rows;  // [R, M]
    // An image without a text has no right column: its rank is put behind them all.
    const auto rank = at::where(right.any(1), ranks(scores, right), texts + 10);
    image_hits += hits_of(rank);
  });
  for_each_block("retrieval", text, image, [&](int64_t first, const at::Tensor& scores) {
    const auto mine = owner.narrow(0, first, scores.size(0)).unsqueeze(1);  // [R, 1]
    text_hits += hits_of(ranks(scores, index.unsqueeze(0) == mine));
  });
  return {recall(image_hits, images), recall(text_hits, texts)};
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
  const auto classes = at::arange(scores.size(1), labels.options());
  const auto first = at::where(scores == scores.amax(1, true), classes, scores.size(1)).amin(1);
  return (first == labels).to(at::kDouble).mean().item<double>();
}

double pair_accuracy(const at::Tensor& image, const at::Tensor& right, const at::Tensor& wrong) {
  TORCH_CHECK_VALUE(image.dim() == 2 && image.size(0) > 0 && image.sizes() == right.sizes() &&
                        image.sizes() == wrong.sizes(),
                    "pair_accuracy: image, right and wrong must all be [N, E], got ", image.sizes(),
                    ", ", right.sizes(), " and ", wrong.sizes());
  return ((image * right).sum(1) > (image * wrong).sum(1)).to(at::kDouble).mean().item<double>();
}

}  // namespace weft::eval
