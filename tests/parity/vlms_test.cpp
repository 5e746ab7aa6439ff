#include <gmock/gmock.h>

#include <ATen/ATen.h>

#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/core/json.hpp>
#include <weft/text/generation.hpp>

#include "parity/references.hpp"
#include "support/python.hpp"
#include "support/temp_folder.hpp"
#include "support/tensors.hpp"

namespace vlms_test {

namespace fs = std::filesystem;
using weft::test::close;

constexpr int kConfigurations = 4;

weft::models::VlmInput input_of(const weft::parity::Case& given) {
  return {.text = {.ids = given.at("ids"), .mask = given.at("mask")},
          .images = {.data = given.at("pixels")}};
}

TEST(ParityVlms, EveryRegisteredFamilyHasARow) {
  weft::parity::expect_rows("vlms.json", weft::checkpoint::vlm_families().names(), kConfigurations);
}

struct ParityVlm : testing::TestWithParam<std::tuple<std::string, int>> {
  fs::path folder() const {
    const auto& [family, k] = GetParam();
    return weft::parity::references() / family / std::to_string(k);
  }
};

TEST_P(ParityVlm, ForwardLossGradientsAndGreedyIds) {
  WEFT_NEEDS_REFERENCES();
  const auto cases = weft::parity::read_cases(folder());
  ASSERT_EQ(cases.size(), 1u);
  const auto& given = cases.front();
  const auto loaded = weft::checkpoint::load_vlm(folder());
  auto model = loaded.model;
  const auto output = model->forward(input_of(given));
  weft::parity::expect_logits_and_run_backward(output.logits, given);
  const auto expected = weft::checkpoint::load_vlm(folder() / "gradients-0", at::kDouble);
  if (loaded.language.family.starts_with("gemma"))
    weft::parity::take_one_from_norms(*expected.language.model);
  weft::parity::expect_gradients(*model, *expected.model);

  const at::NoGradGuard no_grad;
  const auto& greedy = given.at("greedy");
  const auto length = given.at("mask")[0].sum().item<int64_t>();
  const auto visual = model->embed_images({.data = given.at("pixels").narrow(0, 0, 2)});
  const auto prompt =
      model->splice({.ids = given.at("ids").narrow(0, 0, 1).narrow(1, 0, length)}, visual);
  const auto generated =
      weft::text::generate(*model->language, prompt, {.max_new_tokens = greedy.size(1)});
  EXPECT_TRUE(at::equal(at::tensor(generated.front().ids, at::kLong), greedy[0]));
}

INSTANTIATE_TEST_SUITE_P(
    , ParityVlm,
    testing::Combine(testing::ValuesIn(weft::checkpoint::vlm_families().names()),
                     testing::Range(0, kConfigurations)),
    [](const auto& info) {
      return std::get<0>(info.param) + "_" + std::to_string(std::get<1>(info.param));
    });

TEST(ParityVlms, SavedFoldersReloadInTransformersWithEqualResults) {
  WEFT_NEEDS_REFERENCES();
  const auto& references = weft::parity::references();
  const weft::test::TempFolder saved;
  for (const auto& name : weft::checkpoint::vlm_families().names()) {
    fs::create_directories(saved / name);
    for (int k = 0; k < kConfigurations; ++k) {
      const auto folder = weft::checkpoint::load_vlm(references / name / std::to_string(k));
      weft::checkpoint::save_vlm(folder, saved / name / std::to_string(k), name);
    }
  }
  const auto log = saved / "log.txt";
  const auto status = weft::test::run_python_file(
      WEFT_PARITY_SOURCES "/reload.py", {references.string(), saved.path().string()}, log);
  EXPECT_EQ(status, 0) << weft::io::read_file(log);
}

// Written anew from the parts, not from the file that was read.
TEST(ParityVlms, ConfigurationsOfTheirOwnMakingAreTheSameModel) {
  WEFT_NEEDS_REFERENCES();
  for (int k = 0; k < kConfigurations; ++k) {
    const auto folder = weft::parity::references() / "llava" / std::to_string(k);
    const auto given = weft::parity::read_cases(folder).front();
    auto loaded = weft::checkpoint::load_vlm(folder);
    const weft::test::TempFolder saved;
    weft::checkpoint::save_vlm(
        {.model = loaded.model,
         .vision = loaded.vision,
         .language = weft::checkpoint::wrap_language_model(loaded.language.model)},
        saved / "model", "llava");
    auto again = weft::checkpoint::load_vlm(saved / "model");
    const at::NoGradGuard no_grad;
    EXPECT_TRUE(close(again.model->forward(input_of(given)).logits,
                      loaded.model->forward(input_of(given)).logits, 1e-6));
  }
}

}  // namespace vlms_test
