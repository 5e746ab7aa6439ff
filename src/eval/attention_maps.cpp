#include <ATen/ops/stack.h>
#include <torch/types.h>

#include <weft/eval/attention_maps.hpp>
#include <weft/nn/attention_record.hpp>
#include <weft/report/attention.hpp>
#include <weft/vision/vision_transformer.hpp>

#include "eval/eval_mode.hpp"

namespace weft::eval {
namespace {

/// What the pooled vector takes from each token, [B, N], rows that sum to 1, in the last layer.
at::Tensor token_shares(const nn::AttentionRecord& record, const Encoder& encoder,
                        nn::Pooling pooling) {
  const auto& last = record.weights().back();  // [B, H, N, N], or [B, H, 1, N] of a MAP head
  const auto batch = last.size(0), tokens = last.size(3), prefix = encoder.info().prefix;
  if (pooling == nn::Pooling::encoder) {
    if (last.size(2) != tokens) return last.mean(1).select(1, 0);
    const auto* vit = dynamic_cast<const vision::VisionTransformerImpl*>(&encoder);
    pooling = vit != nullptr ? vit->options.pooling : pooling;
    if (pooling == nn::Pooling::encoder)
      pooling = prefix > 0 ? nn::Pooling::cls : nn::Pooling::mean;
  }
  auto shares = at::zeros({batch, tokens}, last.options());
  const bool first = pooling == nn::Pooling::cls || pooling == nn::Pooling::cls_mean;
  const bool mean = pooling == nn::Pooling::mean || pooling == nn::Pooling::cls_mean;
  if (first) shares.select(1, 0) += 1;
  if (mean) shares.narrow(1, prefix, tokens - prefix) += 1.0 / static_cast<double>(tokens - prefix);
  if (pooling == nn::Pooling::last) shares.select(1, tokens - 1) += 1;
  return shares / shares.sum(1, /*keepdim=*/true);
}

}  // namespace

at::Tensor attention_maps(Encoder& encoder, const at::Tensor& pixels, nn::Pooling pooling) {
  const auto info = encoder.info();
  TORCH_CHECK_VALUE(info.patch_size > 0 && info.num_layers > 0, "attention_maps: the encoder '",
                    info.family, "' has no patches that attend to each other");
  TORCH_CHECK_VALUE(pixels.dim() == 4 && pixels.size(0) > 0,
                    "attention_maps: pixels must be [B, 3, H, W], got ", pixels.sizes());
  torch::NoGradGuard no_grad;
  const EvalMode eval_mode(encoder);
  const nn::AttentionRecord record;
  encoder.encode({.data = pixels});
  TORCH_CHECK_VALUE(record.weights().size() >= static_cast<size_t>(info.num_layers),
                    "attention_maps: the encoder '", info.family, "' ran ", record.weights().size(),
                    " of its ", info.num_layers, " layers through nn::Attention");

  const auto shares = token_shares(record, encoder, pooling);  // [B, N]
  const std::vector<at::Tensor> layers(record.weights().begin(),
                                       record.weights().begin() + info.num_layers);
  const auto stacked = at::stack(layers);  // [L, B, H, N, N]
  const auto rows = pixels.size(2) / info.patch_size, columns = pixels.size(3) / info.patch_size;
  std::vector<at::Tensor> maps;
  for (int64_t i = 0; i < pixels.size(0); ++i) {
    const auto rollout = report::attention_rollout(stacked.select(1, i));  // [N, N]
    const auto seen = shares[i].to(at::kFloat).unsqueeze(0).mm(rollout);   // [1, N]
    maps.push_back(seen[0].narrow(0, info.prefix, rows * columns).view({rows, columns}));
  }
  return at::stack(maps);
}

}  // namespace weft::eval
