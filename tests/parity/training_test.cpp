#include <gmock/gmock.h>

#include <ATen/ATen.h>

#include <weft/checkpoint/dual_encoder_folder.hpp>
#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/checkpoint/tensors.hpp>
#include <weft/io/file.hpp>
#include <weft/models/dual_encoder.hpp>
#include <weft/train/optimizer.hpp>
#include <weft/train/rules.hpp>
#include <weft/train/schedule.hpp>

#include "support/python.hpp"
#include "support/temp_folder.hpp"

namespace training_parity_test {

// The same towers, heads and batches, AdamW and schedule as tests/parity/training.py runs in
// PyTorch: fp32 losses agree to 1e-4 at every step.
TEST(ParityTraining, TwentyStepsOfADualEncoderHaveTheLossesOfPyTorch) {
  WEFT_NEEDS_PYTHON();
  const weft::test::TempFolder folder;
  const auto log = folder / "log.txt";
  ASSERT_EQ(weft::test::run_python_file(WEFT_PARITY_SOURCES "/training.py",
                                        {folder.path().string()}, log),
            0)
      << weft::io::read_file(log);
  SCOPED_TRACE(weft::io::read_file(log));  // the seed
  const auto settings = weft::Json::read(folder / "training.json");
  const auto expected = settings.at("losses").as_doubles();

  const auto image = weft::checkpoint::load_encoder(folder / "image");
  const auto text = weft::checkpoint::load_encoder(folder / "text");
  weft::models::DualEncoder model(
      image.encoder, text.encoder,
      weft::models::DualEncoderOptions{.embed_dim = settings.at("embed_dim").as_int(),
                                       .image_pool = weft::nn::Pooling::cls_mean,
                                       .text_pool = weft::nn::Pooling::mean});
  auto parameters = model->named_parameters();
  {
    const at::NoGradGuard no_grad;
    for (const auto& [name, tensor] : weft::checkpoint::read_tensors(folder / "heads.safetensors"))
      parameters[name].copy_(tensor);
  }
  model->train();
  weft::train::AdamW optimizer(weft::train::trainable_parameters(*model),
                               {.beta1 = settings.at("beta1").as_double(),
                                .beta2 = settings.at("beta2").as_double(),
                                .eps = settings.at("eps").as_double(),
                                .weight_decay = settings.at("weight_decay").as_double()});
  auto batches = weft::checkpoint::read_tensors(folder / "batches.safetensors");
  const auto steps = static_cast<int64_t>(expected.size());
  ASSERT_EQ(batches["pixels"].size(0), steps);
  for (int64_t step = 0; step < steps; ++step) {
    const auto loss = model->loss(
        model->encode_image({.data = batches["pixels"][step]}),
        model->encode_text({.data = batches["ids"][step], .mask = batches["mask"][step]}));
    optimizer.zero_grad();
    loss.backward();
    optimizer.step(weft::train::learning_rate(weft::train::Schedule::cosine, step, steps,
                                              settings.at("warmup").as_int(),
                                              settings.at("lr").as_double()));
    model->clamp_scale_();
    EXPECT_NEAR(loss.item<double>(), expected[static_cast<size_t>(step)], 1e-4) << "step " << step;
  }
  EXPECT_LT(expected.back(), expected.front()) << "the reference did not learn";
}

// A folder of open_clip, its batches, loss, clipping, parameter groups and schedule: fp32 losses
// agree to 1e-4 at every step.
TEST(ParityTraining, TwentyStepsOfAnOpenClipModelHaveItsLosses) {
  WEFT_NEEDS_PYTHON();
  const weft::test::TempFolder folder;
  const auto log = folder / "log.txt";
  ASSERT_EQ(weft::test::run_python_file(WEFT_PARITY_SOURCES "/open_clip_training.py",
                                        {folder.path().string()}, log),
            0)
      << weft::io::read_file(log);
  SCOPED_TRACE(weft::io::read_file(log));  // the seed
  for (const std::string loss_name : {"infonce", "sigmoid"}) {
    SCOPED_TRACE(loss_name);
    const auto settings = weft::Json::read(folder / loss_name / "training.json");
    const auto number = [&](const char* name) { return settings.at(name).as_double(); };
    const auto expected = settings.at("losses").as_doubles();
    auto model = weft::checkpoint::load_dual_encoder(folder / loss_name).model;
    EXPECT_EQ(weft::to_json(model->options.loss).as_string(), loss_name);
    model->train();
    const auto parameters = weft::train::trainable_parameters(*model);
    weft::train::AdamW optimizer(parameters,
                                 {.beta1 = number("beta1"),
                                  .beta2 = number("beta2"),
                                  .eps = number("eps"),
                                  .weight_decay = number("weight_decay")},
                                 weft::train::open_clip_rule);
    const auto batches = weft::checkpoint::read_tensors(folder / loss_name / "batches.safetensors");
    const auto steps = static_cast<int64_t>(expected.size());
    for (int64_t step = 0; step < steps; ++step) {
      const auto loss = model->loss(model->encode_image({.data = batches.at("pixels")[step]}),
                                    model->encode_text({.data = batches.at("ids")[step]}));
      optimizer.zero_grad();
      loss.backward();
      weft::train::clip_gradients_(parameters,
                                   weft::train::gradient_norm(parameters).item<double>(),
                                   number("grad_clip_norm"));
      optimizer.step(weft::train::learning_rate(weft::train::Schedule::cosine, step, steps,
                                                settings.at("warmup").as_int(), number("lr")));
      model->clamp_scale_();
      EXPECT_NEAR(loss.item<double>(), expected[static_cast<size_t>(step)], 1e-4)
          << "step " << step;
    }
    EXPECT_LT(expected.back(), expected.front()) << "the reference did not learn";
  }
}

}  // namespace training_parity_test
