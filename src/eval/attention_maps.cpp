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

/// The map of pixels [1, 3, H, W]: [H / patch, W / patch].
at::Tensor map_of(Encoder& encoder, const at::Tensor& pixels, nn::Pooling pooling) {
  const auto info = encoder.info();
  const nn::AttentionRecord record;
  encoder.encode({.data = pixels});
  TORCH_CHECK_VALUE(record.weights().size() >= static_cast<size_t>(info.num_layers),
                    "attention_maps: the encoder '", info.family, "' ran ", record.weights().size(),
                    " of its ", info.num_layers, " layers through nn::Attention");
  std::vector<at::Tensor> layers;
  for (int64_t layer = 0; layer < info.num_layers; ++layer)
    layers.push_back(record.weights()[static_cast<size_t>(layer)][0].mean(0, /*keepdim=*/true));
  const auto rollout = report::attention_rollout(at::stack(layers));          // [N, N]
  const auto shares = token_shares(record, encoder, pooling).to(at::kFloat);  // [1, N]
  return report::patch_map(shares.mm(rollout), pixels.size(2) / info.patch_size,
                           pixels.size(3) / info.patch_size, info.prefix);
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
  std::vector<at::Tensor> maps;  // one image at a time: the weights of a large tower fill gigabytes
  for (int64_t i = 0; i < pixels.size(0); ++i)
    maps.push_back(map_of(encoder, pixels.narrow(0, i, 1), pooling));
  return at::stack(maps);
}

}  // namespace weft::eval
