// Stage 2 of LLaVA: an image encoder that is not trained, a connector and a language model that
// are, on one batch; its rows as they are padded, or packed.
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/zeros.h>
#include <torch/types.h>

#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/core/options.hpp>
#include <weft/nn/precision.hpp>
#include <weft/train/optimizer.hpp>
#include <weft/train/vlm.hpp>

#include "works.hpp"

namespace weft::benchmarks {
namespace {

/// Rows of the longest sample's length, each with as many whole samples as fit, in order.
data::ConversationBatch packed(const data::ConversationBatch& padded) {
  const auto B = padded.text.ids.size(0), T = padded.text.ids.size(1);
  std::vector<std::vector<int64_t>> rows;
  int64_t used = T + 1;
  for (int64_t b = 0; b < B; ++b) {
    const auto length = padded.text.mask[b].sum().item<int64_t>();
    if (used + length > T) {
      rows.emplace_back();
      used = 0;
    }
    rows.back().push_back(b);
    used += length;
  }
  auto out = padded;
  const auto R = static_cast<int64_t>(rows.size());
  out.text = {.ids = at::zeros({R, T}, at::kLong), .mask = at::zeros({R, T}, at::kBool)};
  out.text.segments = at::zeros({R, T}, at::kLong);
  out.targets = at::full({R, T}, ops::kIgnoredLabel, at::kLong);
  for (int64_t r = 0; r < R; ++r) {
    int64_t at = 0;
    for (const auto b : rows[static_cast<size_t>(r)]) {
      const auto n = padded.text.mask[b].sum().item<int64_t>();
      out.text.ids[r].narrow(0, at, n).copy_(padded.text.ids[b].narrow(0, 0, n));
      out.targets[r].narrow(0, at, n).copy_(padded.targets[b].narrow(0, 0, n));
      out.text.mask[r].narrow(0, at, n).fill_(true);
      out.text.segments[r].narrow(0, at, n).fill_(b + 1);
      at += n;
    }
  }
  return out;
}

}  // namespace

Work train_vlm(const Json& args) {
  const auto inputs = read_tensors(args.at("inputs").as_string());
  auto folder = checkpoint::make_vlm(args.at("vision").as_string(), args.at("language").as_string(),
                                     {.vision_layers = {-1}});
  auto model = folder.model;
  model->options.image_token = args.at("image_token").as_int();
  {
    const at::NoGradGuard no_grad;
    for (auto& parameter : model->connector->named_parameters())
      parameter.value().copy_(inputs.at("connector." + parameter.key()));
  }
  train::train_parts(*model, {"connector", "language"});
  train::set_modes(*model);
  data::ConversationBatch batch;
  batch.text = {.ids = inputs.at("ids"), .mask = inputs.at("mask") == 1};
  batch.targets = at::full_like(inputs.at("labels"), ops::kIgnoredLabel);
  batch.targets.slice(1, 0, -1).copy_(inputs.at("labels").slice(1, 1));
  batch.images = {.data = inputs.at("pixels")};
  for (int64_t i = 0; i < batch.images.data.size(0); ++i) batch.numbers.push_back(i);
  if (args.at("packed").as_bool()) batch = packed(batch);

  const auto precision = from_json<nn::Precision>(args.at("precision"));
  const auto named = train::trainable_parameters(*model);
  const auto optimizer =
      std::make_shared<train::AdamW>(named, train::AdamWOptions{.weight_decay = 0});
  auto step = [=]() mutable {
    Tensor loss;
    {
      const nn::PrecisionGuard autocast(at::kCPU, precision);
      loss = train::answer_losses(*model, batch);
    }
    optimizer->zero_grad();
    loss.backward();
    train::clip_gradients_(named, train::gradient_norm(named).item<double>(), 1);
    optimizer->step(2e-5);
    return loss.detach();
  };
  return training(step, 3);
}

}  // namespace weft::benchmarks
