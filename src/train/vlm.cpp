#include <algorithm>

#include <ATen/core/grad_mode.h>

#include <weft/train/vlm.hpp>

#include "train/loader_step.hpp"

namespace weft::train {
namespace {

Tensor move_to(const Tensor& tensor, at::Device device) {
  return tensor.defined() ? tensor.to(device) : tensor;
}

/// The loss, with a graph to what is trained of connector and tower where the batch has no image
/// for them: their gradients are 0 then, as LLaVA's, which gives them no rows of an image.
Tensor reaching_all(const models::VlmImpl& model, Tensor loss) {
  const torch::nn::Module* const parts[] = {model.connector.get(), model.vision.get()};
  for (const auto* part : parts)
    for (const auto& parameter : part->parameters())
      if (parameter.requires_grad()) loss = loss.add(parameter.flatten().select(0, 0).mul(0));
  return loss;
}

}  // namespace

bool trains(const torch::nn::Module& module) {
  return std::ranges::any_of(module.parameters(),
                             [](const Tensor& parameter) { return parameter.requires_grad(); });
}

LmInput vlm_input(models::VlmImpl& model, const data::ConversationBatch& batch,
                  const eval::VisualFeatures* features) {
  const auto device = model.language->parameters().front().device();
  auto text = batch.text;
  model.check_ids(text.ids);
  TORCH_CHECK_VALUE(!model.options.prefix_attention || text.spans.defined(),
                    "vlm_input: a model with prefix_attention needs to be told where the prefixes "
                    "of a batch end (text.spans)");
  for (auto* member : {&text.ids, &text.mask, &text.segments, &text.branches, &text.spans})
    *member = move_to(*member, device);
  if (batch.numbers.empty()) return text;
  EncoderOutput visual;
  {
    const at::AutoGradMode graph(at::GradMode::is_enabled() && trains(*model.vision));
    if (features != nullptr) {
      visual = features->of(batch.numbers);
      visual.tokens = visual.tokens.to(device);
    } else {
      auto images = batch.images;
      images.data = images.data.to(device);
      images.mask = move_to(images.mask, device);
      visual = model.see(images);
    }
  }
  return model.splice(text, model.connector->connect({.visual = visual}).tokens);
}

Tensor answer_losses(models::VlmImpl& model, const data::ConversationBatch& batch,
                     ops::LossReduction reduction, const eval::VisualFeatures* features) {
  auto input = vlm_input(model, batch, features);
  input.logits = Logits::none;
  const auto hidden = model.language->forward(input).hidden;
  const auto head = model.language->head();
  ops::LinearCrossEntropyOptions options{.softcap = head.soft_cap, .reduction = reduction};
  if (head.bias.defined()) options.bias = head.bias;
  const auto loss =
      ops::linear_cross_entropy(hidden, head.weight, batch.targets.to(hidden.device()), options);
  const bool text_only = batch.numbers.empty() && at::GradMode::is_enabled();
  return text_only ? reaching_all(model, loss) : loss;
}

void set_modes(models::VlmImpl& model) {
  for (const auto& part : model.children()) part->train(trains(*part));
}

VlmTask::VlmTask(models::Vlm model, data::ConversationLoader& loader,
                 const eval::VisualFeatures* features)
    : model_(std::move(model)), loader_(loader), features_(features) {
  TORCH_CHECK_VALUE(features == nullptr || !trains(*model_->vision),
                    "VlmTask: kept features are for a vision tower that is not trained");
}

StepResult VlmTask::step() {
  StepResult out;
  const auto batch = take_batch(loader_, out);
  if (!batch) return out;
  set_modes(*model_);
  out.loss = answer_losses(*model_, *batch, ops::LossReduction::mean, features_);
  const auto count = [](const Tensor& mask) {
    return static_cast<double>(mask.sum().item<int64_t>());
  };
  out.counts = {{"tokens", count(batch->text.mask)},
                {"answer_tokens", count(batch->targets != ops::kIgnoredLabel)}};
  return out;
}

void train_parts(models::VlmImpl& model, const std::vector<std::string>& parts) {
  const auto set = [](const torch::nn::Module& module, bool trained) {
    for (auto& parameter : module.parameters()) parameter.requires_grad_(trained);
  };
  for (const auto& part : parts)
    TORCH_CHECK_VALUE(part == "vision" || part == "connector" || part == "language",
                      "train_parts: the parts are vision, connector and language, got ", part);
  set(model, false);
  for (const auto& part : parts) set(*model.named_children()[part], true);
}

GroupRule scaled_rates(std::vector<std::pair<std::string, double>> prefixes, GroupRule base) {
  return [prefixes = std::move(prefixes), base = std::move(base)](std::string_view name,
                                                                  const Tensor& parameter) {
    auto rule = base(name, parameter);
    for (const auto& [prefix, scale] : prefixes)
      if (name.starts_with(prefix)) rule.lr_scale *= scale;
    return rule;
  };
}

}  // namespace weft::train
