#include <gmock/gmock.h>

#include <ATen/ATen.h>

#include <weft/checkpoint/tensors.hpp>
#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/core/json.hpp>
#include <weft/io/file.hpp>
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

// The same model, batches, trained parts, clipping, AdamW and schedule as
// tests/parity/vlm_training.py runs in transformers: fp32 losses agree to 1e-4 at every step.
TEST(ParityTraining, TwentyStepsOfBothStagesHaveTheLossesOfTransformers) {
  WEFT_NEEDS_PYTHON();
  const weft::test::TempFolder folder;
  const auto log = folder / "log.txt";
  ASSERT_EQ(weft::test::run_python_file(WEFT_PARITY_SOURCES "/vlm_training.py",
                                        {folder.path().string()}, log),
            0)
      << weft::io::read_file(log);
  SCOPED_TRACE(weft::io::read_file(log));  // the seed
  for (const std::string stage : {"stage1", "stage2"}) {
    SCOPED_TRACE(stage);
    const auto settings = weft::Json::read(folder / stage / "training.json");
    const auto number = [&](const char* name) { return settings.at(name).as_double(); };
    const auto expected = settings.at("losses").as_doubles();
    auto model = weft::checkpoint::load_vlm(folder / stage).model;
    model->train();
    weft::train::train_parts(*model, stage == "stage1"
                                         ? std::vector<std::string>{"connector"}
                                         : std::vector<std::string>{"connector", "language"});
    const auto parameters = weft::train::trainable_parameters(*model);
    weft::train::AdamW optimizer(parameters, {.beta1 = number("beta1"),
                                              .beta2 = number("beta2"),
                                              .eps = number("eps"),
                                              .weight_decay = number("weight_decay")});
    const auto batches = weft::checkpoint::read_tensors(folder / stage / "batches.safetensors");
    const auto steps = static_cast<int64_t>(expected.size());
    for (int64_t step = 0; step < steps; ++step) {
      const auto loss = weft::train::vlm_loss(*model, batch_of(batches, step));
      optimizer.zero_grad();
      loss.backward();
      weft::train::clip_gradients_(parameters,
                                   weft::train::gradient_norm(parameters).item<double>(),
                                   number("grad_clip_norm"));
      optimizer.step(weft::train::learning_rate(weft::train::Schedule::cosine, step, steps,
                                                settings.at("warmup").as_int(), number("lr")));
      EXPECT_NEAR(loss.item<double>(), expected[static_cast<size_t>(step)], 1e-4)
          << "step " << step;
    }
    EXPECT_LT(expected.back(), expected.front()) << "the reference did not learn";
  }
}

}  // namespace vlm_training_test
