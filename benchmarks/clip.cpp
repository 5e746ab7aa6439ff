// A CLIP of open_clip's folder: embeddings of one batch, and training steps on one batch.
#include <c10/core/InferenceMode.h>
#include <torch/types.h>

#include <weft/checkpoint/dual_encoder_folder.hpp>
#include <weft/core/options.hpp>
#include <weft/nn/precision.hpp>
#include <weft/train/optimizer.hpp>
#include <weft/train/rules.hpp>

#include "works.hpp"

namespace weft::benchmarks {

Work encode_clip(const Json& args) {
  auto model = checkpoint::load_dual_encoder(args.at("model").as_string()).model;
  model->eval();
  const auto inputs = read_tensors(args.at("inputs").as_string());
  const auto precision = from_json<nn::Precision>(args.at("precision"));
  return [=]() mutable {
    const c10::InferenceMode inference;
    const nn::PrecisionGuard autocast(at::kCPU, precision);
    return inputs.count("ids")
               ? Outputs{{"text", model->encode_text({.data = inputs.at("ids")})}}
               : Outputs{{"image", model->encode_image({.data = inputs.at("pixels")})}};
  };
}

Work train_clip(const Json& args) {
  auto model = checkpoint::load_dual_encoder(args.at("model").as_string()).model;
  model->train();
  const auto batch = read_tensors(args.at("inputs").as_string());
  const auto precision = from_json<nn::Precision>(args.at("precision"));
  const auto optimizer = std::make_shared<train::AdamW>(
      train::trainable_parameters(*model),
      train::AdamWOptions{.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6, .weight_decay = 0.2},
      train::open_clip_rule);
  auto step = [=]() mutable {
    Tensor loss;
    {
      const nn::PrecisionGuard autocast(at::kCPU, precision);
      loss = model->loss(model->encode_image({.data = batch.at("pixels")}),
                         model->encode_text({.data = batch.at("ids")}));
    }
    optimizer->zero_grad();
    loss.backward();
    optimizer->step(5e-4);
    model->clamp_scale_();
    return loss.detach();
  };
  return training(step, 4);
}

}  // namespace weft::benchmarks
