#include <gmock/gmock.h>

#include <ATen/ATen.h>

#include <weft/checkpoint/lm_folder.hpp>
#include <weft/core/json.hpp>
#include <weft/text/generation.hpp>

#include "parity/references.hpp"
#include "support/python.hpp"
#include "support/shared_data.hpp"
#include "support/temp_folder.hpp"
#include "support/tensors.hpp"

namespace language_models_test {

namespace fs = std::filesystem;
using weft::test::close;

constexpr double kForward = 1e-5;
constexpr int kConfigurations = 4;

weft::LmInput input_of(const weft::parity::Case& given) {
  return {.ids = given.at("ids"), .mask = given.at("mask")};
}

std::vector<int64_t> row_of(const at::Tensor& ids, int64_t row) {
  const auto part = ids[row].contiguous();
  return {part.const_data_ptr<int64_t>(), part.const_data_ptr<int64_t>() + part.numel()};
}

TEST(ParityLanguageModels, EveryRegisteredFamilyHasARow) {
  const auto names = weft::checkpoint::lm_families().names();
  weft::parity::expect_rows("language_models.json", names, kConfigurations);
  WEFT_NEEDS_REFERENCES();
  for (const auto& name : names)
    for (int k = 0; k < kConfigurations; ++k)
      ASSERT_TRUE(
          fs::exists(weft::parity::references() / name / std::to_string(k) / "config.json"));
}

struct ParityLanguageModel : testing::TestWithParam<std::tuple<std::string, int>> {
  fs::path folder() const {
    const auto& [family, k] = GetParam();
    return weft::parity::references() / family / std::to_string(k);
  }
};

TEST_P(ParityLanguageModel, ForwardLossAndGradients) {
  WEFT_NEEDS_REFERENCES();
  const auto cases = weft::parity::read_cases(folder());
  ASSERT_EQ(cases.size(), 3u);
  for (size_t c = 0; c < cases.size(); ++c) {
    const auto& given = cases[c];
    SCOPED_TRACE(given.file.string());
    const auto loaded = weft::checkpoint::load_language_model(folder());
    auto input = input_of(given);
    for (int64_t i = 0; i <= loaded.model->info().num_layers; ++i) input.hidden_layers.push_back(i);
    const auto output = loaded.model->forward(input);
    const auto real = given.at("mask").unsqueeze(2);
    for (size_t i = 0; i < output.layers.size(); ++i) {
      const auto name = "hidden." + std::to_string(i);
      ASSERT_TRUE(given.has(name));
      EXPECT_TRUE(close(output.layers[i] * real, given.at(name), kForward)) << name;
    }
    EXPECT_FALSE(given.has("hidden." + std::to_string(output.layers.size())));

    weft::parity::expect_logits_and_run_backward(output.logits, given);
    const auto expected = weft::checkpoint::load_language_model(
        folder() / ("gradients-" + std::to_string(c)), at::kDouble);
    if (std::get<0>(GetParam()).starts_with("gemma"))
      weft::parity::take_one_from_norms(*expected.model);
    weft::parity::expect_gradients(*loaded.model, *expected.model);
  }
}

TEST_P(ParityLanguageModel, GreedyIdsWithACacheAreTransformers) {
  WEFT_NEEDS_REFERENCES();
  const auto loaded = weft::checkpoint::load_language_model(folder());
  int compared = 0;
  for (const auto& given : weft::parity::read_cases(folder())) {
    if (!given.has("greedy")) continue;
    SCOPED_TRACE(given.file.string());
    const auto& ids = given.at("ids");
    const auto& expected = given.at("greedy");
    const auto generated =
        weft::text::generate(*loaded.model, input_of(given), {.max_new_tokens = expected.size(1)});
    ASSERT_EQ(static_cast<int64_t>(generated.size()), ids.size(0));
    for (int64_t row = 0; row < ids.size(0); ++row)
      EXPECT_EQ(generated[static_cast<size_t>(row)].ids, row_of(expected, row));
    ++compared;
  }
  EXPECT_EQ(compared, 2);
}

INSTANTIATE_TEST_SUITE_P(
    , ParityLanguageModel,
    testing::Combine(testing::ValuesIn(weft::checkpoint::lm_families().names()),
                     testing::Range(0, kConfigurations)),
    [](const auto& info) {
      return std::get<0>(info.param) + "_" + std::to_string(std::get<1>(info.param));
    });

// Written anew from the options, not from the file that was read.
TEST(ParityLanguageModels, ConfigurationsOfTheirOwnMakingAreTheSameModel) {
  WEFT_NEEDS_REFERENCES();
  for (const auto& name : weft::checkpoint::lm_families().names()) {
    for (int k = 0; k < kConfigurations; ++k) {
      SCOPED_TRACE(name + "/" + std::to_string(k));
      const auto folder = weft::parity::references() / name / std::to_string(k);
      const auto given = weft::parity::read_cases(folder).front();
      const auto loaded = weft::checkpoint::load_language_model(folder);
      const weft::test::TempFolder saved;
      weft::checkpoint::save_language_model(weft::checkpoint::wrap_language_model(loaded.model),
                                            saved / "model");
      const auto again = weft::checkpoint::load_language_model(saved / "model");
      const at::NoGradGuard no_grad;
      EXPECT_TRUE(close(again.model->forward(input_of(given)).logits,
                        loaded.model->forward(input_of(given)).logits, 1e-6));
    }
  }
}

TEST(ParityLanguageModels, SavedFoldersReloadInTransformersWithEqualResults) {
  WEFT_NEEDS_REFERENCES();
  const auto& references = weft::parity::references();
  const weft::test::TempFolder saved;
  for (const auto& name : weft::checkpoint::lm_families().names()) {
    fs::create_directories(saved / name);
    for (int k = 0; k < kConfigurations; ++k) {
      const auto index = std::to_string(k);
      weft::checkpoint::save_language_model(
          weft::checkpoint::load_language_model(references / name / index), saved / name / index);
    }
  }
  const auto log = saved / "log.txt";
  const auto status = weft::test::run_python_file(
      WEFT_PARITY_SOURCES "/reload.py", {references.string(), saved.path().string()}, log);
  EXPECT_EQ(status, 0) << weft::io::read_file(log);
}

TEST(ParityReal, SmolLm2GivesTheIdsOfTransformersOnTwentyPrompts) {
  WEFT_NEEDS_REFERENCES();
  const auto folder = weft::test::real_model("smollm2-135m");
  WEFT_SKIP_WITHOUT(folder / "model.safetensors");
  const auto expected = weft::parity::references() / "real" / "smollm2-135m";
  WEFT_SKIP_WITHOUT(expected);
  const auto loaded = weft::checkpoint::load_language_model(folder);
  EXPECT_EQ(loaded.family, "llama");
  const auto given = weft::parity::read_cases(expected).front();
  const auto& greedy = given.at("greedy");  // padded with the end token behind it
  ASSERT_EQ(greedy.size(0), 20);
  const at::NoGradGuard no_grad;
  auto input = input_of(given);
  input.logits = weft::Logits::last;
  EXPECT_TRUE(close(loaded.model->forward(input).logits.squeeze(1), given.at("logits"), 2e-5));
  const auto end = weft::checkpoint::end_tokens(loaded);
  ASSERT_EQ(end.size(), 1u);
  const auto generated = weft::text::generate(
      *loaded.model, input_of(given), {.max_new_tokens = greedy.size(1), .end_tokens = end});
  for (int64_t row = 0; row < greedy.size(0); ++row) {
    auto ids = generated[static_cast<size_t>(row)].ids;
    ids.resize(static_cast<size_t>(greedy.size(1)), end.front());
    EXPECT_EQ(ids, row_of(greedy, row)) << "prompt " << row;
  }
}

}  // namespace language_models_test
