#include <cmath>
#include <functional>

#include <gmock/gmock.h>

#include <ATen/ATen.h>

#include <weft/checkpoint/lora_folder.hpp>
#include <weft/checkpoint/tensors.hpp>
#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/core/json.hpp>
#include <weft/io/file.hpp>
#include <weft/train/preference.hpp>
#include <weft/train/schedule.hpp>
#include <weft/train/vlm.hpp>

#include "support/python.hpp"
#include "support/temp_folder.hpp"

namespace vlm_training_test {

/// A step's part of the batches; what token t is to predict is the label of token t + 1.
weft::data::ConversationBatch batch_of(const weft::checkpoint::TensorMap& batches, int64_t step) {
  const auto at = [&](const char* name) { return batches.at(name)[step]; };
  const auto labels = at("labels");
  weft::data::ConversationBatch out{.text = {.ids = at("ids"), .mask = at("mask")},
                                    .targets = at::full_like(labels, -100),
                                    .images = {.data = at("pixels")}};
  const auto T = labels.size(1);
  out.targets.narrow(1, 0, T - 1).copy_(labels.narrow(1, 1, T - 1));
  for (int64_t i = 0; i < out.images.data.size(0); ++i) out.numbers.push_back(i);
  return out;
}

/// The folder of tests/parity/vlm_training.py.
struct Training {
  explicit Training(const std::filesystem::path& path)
      : settings(weft::Json::read(path / "training.json")),
        batches(weft::checkpoint::read_tensors(path / "batches.safetensors")),
        folder(weft::checkpoint::load_vlm(path)) {}
  double number(const char* name) const { return settings.at(name).as_double(); }

  weft::Json settings;
  weft::checkpoint::TensorMap batches;
  weft::checkpoint::VlmFolder folder;
};

/// Trains what requires gradients on `loss`, and holds each step's to the reference's.
void expect_losses(
    const Training& run,
    const std::function<at::Tensor(const weft::data::ConversationBatch&, int64_t)>& loss_of) {
  const auto expected = run.settings.at("losses").as_doubles();
  const auto parameters = weft::train::trainable_parameters(*run.folder.model);
  weft::train::AdamW optimizer(parameters, {.beta1 = run.number("beta1"),
                                            .beta2 = run.number("beta2"),
                                            .eps = run.number("eps"),
                                            .weight_decay = run.number("weight_decay")});
  const auto steps = static_cast<int64_t>(expected.size());
  const auto untrained = loss_of(batch_of(run.batches, steps - 1), steps - 1).item<double>();
  for (int64_t step = 0; step < steps; ++step) {
    const auto loss = loss_of(batch_of(run.batches, step), step);
    optimizer.zero_grad();
    loss.backward();
    weft::train::clip_gradients_(parameters, weft::train::gradient_norm(parameters).item<double>(),
                                 run.number("grad_clip_norm"));
    optimizer.step(weft::train::learning_rate(weft::train::Schedule::cosine, step, steps,
                                              run.settings.at("warmup").as_int(),
                                              run.number("lr")));
    EXPECT_NEAR(loss.item<double>(), expected[static_cast<size_t>(step)], 1e-4) << "step " << step;
  }
  EXPECT_GT(std::abs(expected.back() - untrained), 1e-3) << "training changed nothing";
}

// The same model, batches, trained parts, clipping, AdamW and schedule as
// tests/parity/vlm_training.py runs in transformers and PEFT: fp32 losses agree to 1e-4 at every
// step.
TEST(ParityTraining, TwentyStepsOfEachStageHaveTheLossesOfTransformersAndPeft) {
  WEFT_NEEDS_PYTHON();
  const weft::test::TempFolder folder;
  const auto log = folder / "log.txt";
  ASSERT_EQ(weft::test::run_python_file(WEFT_PARITY_SOURCES "/vlm_training.py",
                                        {folder.path().string()}, log),
            0)
      << weft::io::read_file(log);
  SCOPED_TRACE(weft::io::read_file(log));  // the seed
  const std::vector<std::string> connector = {"connector"}, both = {"connector", "language"};
  for (const std::string name : {"stage1", "stage2", "lora"}) {
    SCOPED_TRACE(name);
    const Training run(folder / name);
    auto model = run.folder.model;
    weft::train::train_parts(*model, name == "stage2" ? both : connector);
    if (name == "lora") {
      weft::checkpoint::load_lora(run.folder, folder / name / "adapter");
      for (auto& [key, parameter] : weft::nn::lora_parameters(*model))
        parameter.requires_grad_(true);
    }
    weft::train::set_modes(*model);
    expect_losses(
        run, [&](const auto& batch, int64_t) { return weft::train::answer_losses(*model, batch); });
  }
  SCOPED_TRACE("dpo");
  const Training run(folder / "dpo");
  auto model = run.folder.model, reference = weft::checkpoint::load_vlm(folder / "dpo").model;
  weft::train::train_parts(*model, both);
  weft::train::set_modes(*model);
  expect_losses(run, [&](auto batch, int64_t) {
    batch.samples = batch.text.ids.size(0) / 2;
    const auto [chosen, rejected] = weft::train::preference_log_probs(*model, batch);
    const at::NoGradGuard no_grad;
    const auto [first, second] = weft::train::preference_log_probs(*reference, batch);
    const at::AutoGradMode graph(true);
    return weft::losses::preference_loss({.chosen = chosen,
                                          .rejected = rejected,
                                          .reference_chosen = first,
                                          .reference_rejected = second},
                                         {.beta = run.number("beta")})
        .loss;
  });
}

}  // namespace vlm_training_test
