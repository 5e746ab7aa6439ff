#include <torch/types.h>

#include <weft/eval/knn.hpp>
#include <weft/nn/pooling.hpp>

#include "eval/score_blocks.hpp"

namespace weft::eval {

at::Tensor knn_votes(const at::Tensor& queries, const at::Tensor& train, const at::Tensor& labels,
                     int64_t classes, const KnnOptions& options) {
  check_rows("knn_votes", queries, train);
  TORCH_CHECK_VALUE(
      labels.dim() == 1 && labels.size(0) == train.size(0) && labels.scalar_type() == at::kLong,
      "knn_votes: labels must be [", train.size(0), "] int64, got ", labels.sizes(), " ",
      labels.scalar_type());
  const auto low = labels.min().item<int64_t>(), high = labels.max().item<int64_t>();
  TORCH_CHECK_VALUE(low >= 0 && high < classes, "knn_votes: labels must be 0 to ", classes - 1,
                    ", got ", low, " to ", high);
  TORCH_CHECK_VALUE(options.k > 0, "knn_votes: k must be positive, got ", options.k);
  TORCH_CHECK_VALUE(options.temperature > 0, "knn_votes: temperature must be positive, got ",
                    options.temperature);
  const torch::NoGradGuard no_grad;
  const auto k = std::min(options.k, train.size(0));
  const auto label = labels.to(train.device());
  auto votes = at::zeros({queries.size(0), classes}, queries.options().dtype(at::kFloat));
  for_each_block(
      "knn_votes", nn::unit_rows(queries), nn::unit_rows(train),
      [&](int64_t first, const at::Tensor& cosine) {
        const auto [near, index] = cosine.topk(k, 1);  // [B, k], nearest first
        const auto weight = options.vote == KnnVote::majority
                                ? at::ones_like(near)
                                : ((near - near.narrow(1, 0, 1)) / options.temperature).exp();
        votes.narrow(0, first, cosine.size(0))
            .scatter_add_(1, label.index_select(0, index.view({-1})).view_as(index), weight);
      });
  return votes;
}

}  // namespace weft::eval
