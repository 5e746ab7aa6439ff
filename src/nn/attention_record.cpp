#include <cmath>
#include <limits>

#include <torch/types.h>

#include <weft/nn/attention_record.hpp>
#include <weft/nn/autocast.hpp>

namespace weft::nn {
namespace {

thread_local AttentionRecord* newest = nullptr;

}  // namespace

AttentionRecord::AttentionRecord(const AttentionRecordOptions& options)
    : options_(options), previous_(newest) {
  newest = this;
}
AttentionRecord::~AttentionRecord() { newest = previous_; }
AttentionRecord* AttentionRecord::current() { return newest; }

at::Tensor attention_weights(const at::Tensor& queries, const at::Tensor& keys,
                             const AttentionScores& how) {
  const auto group = queries.size(1) / keys.size(1);
  const auto type = at::promote_types(queries.scalar_type(), at::kFloat);
  const auto spread = keys.to(type).repeat_interleave(group, 1);  // [B, H, M, d]
  const auto scale =
      how.scale != 0 ? how.scale : 1 / std::sqrt(static_cast<double>(queries.size(3)));
  auto scores = queries.to(type).matmul(spread.transpose(2, 3)) * scale;  // [B, H, N, M]
  if (how.soft_cap != 0) scores = (scores / how.soft_cap).tanh() * how.soft_cap;
  auto seen = how.allowed;
  if (!seen.defined() && how.causal)
    seen = at::ones({queries.size(2), keys.size(2)}, queries.options().dtype(at::kBool)).tril();
  if (seen.defined())
    scores = scores.masked_fill(seen.logical_not(), -std::numeric_limits<float>::infinity());
  return scores.softmax(-1);
}

void AttentionRecord::add(const at::Tensor& queries, const at::Tensor& keys,
                          const AttentionScores& how) {
  torch::NoGradGuard no_grad;
  const AutocastGuard exact(queries.device().type(), at::kBFloat16, /*enabled=*/false);
  auto asked = queries;
  auto scores = how;
  const auto N = queries.size(2), count = options_.last_queries;
  if (count > 0 && count < N) {
    asked = queries.narrow(2, N - count, count);
    if (!scores.allowed.defined() && scores.causal)
      scores.allowed =
          at::ones({count, keys.size(2)}, queries.options().dtype(at::kBool)).tril(N - count);
    else if (scores.allowed.defined() && scores.allowed.size(-2) == N)
      scores.allowed = scores.allowed.narrow(-2, N - count, count);
  }
  const auto weights = attention_weights(asked, keys, scores);
  weights_.push_back(options_.mean_heads ? weights.mean(1, /*keepdim=*/true) : weights);
}

}  // namespace weft::nn
