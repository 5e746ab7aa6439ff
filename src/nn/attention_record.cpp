#include <cmath>
#include <limits>

#include <torch/types.h>

#include <weft/nn/attention_record.hpp>
#include <weft/nn/autocast.hpp>

namespace weft::nn {
namespace {

thread_local AttentionRecord* newest = nullptr;

}  // namespace

AttentionRecord::AttentionRecord() : previous_(newest) { newest = this; }
AttentionRecord::~AttentionRecord() { newest = previous_; }
AttentionRecord* AttentionRecord::current() { return newest; }

void AttentionRecord::add(const at::Tensor& queries, const at::Tensor& keys,
                          const at::Tensor& allowed, bool causal) {
  torch::NoGradGuard no_grad;
  const AutocastGuard exact(queries.device().type(), at::kBFloat16, /*enabled=*/false);
  const auto group = queries.size(1) / keys.size(1);
  const auto type = at::promote_types(queries.scalar_type(), at::kFloat);
  const auto spread = keys.to(type).repeat_interleave(group, 1);  // [B, H, M, d]
  auto scores = queries.to(type).matmul(spread.transpose(2, 3)) /
                std::sqrt(static_cast<double>(queries.size(3)));  // [B, H, N, M]
  auto seen = allowed;
  if (!seen.defined() && causal)
    seen = at::ones({queries.size(2), keys.size(2)}, queries.options().dtype(at::kBool)).tril();
  if (seen.defined())
    scores.masked_fill_(seen.logical_not(), -std::numeric_limits<float>::infinity());
  weights_.push_back(scores.softmax(-1));
}

}  // namespace weft::nn
