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

constexpr double kForward = 1e-5;
constexpr int kConfigurations = 4;

weft::models::VlmInput input_of(const weft::parity::Case& given) {
  return {.text = {.ids = given.at("ids"), .mask = given.at("mask")},
          .images = {.data = given.at("pixels")}};
}

TEST(ParityVlms, EveryRegisteredFamilyHasARow) {
  const auto rows = weft::Json::read(WEFT_PARITY_SOURCES "/vlms.json");
  for (const auto& name : weft::checkpoint::vlm_families().names()) {
    ASSERT_TRUE(rows.contains(name)) << name << " has no row in vlms.json";
    EXPECT_EQ(rows.at(name).at("configurations").as_int(), kConfigurations);
    for (const auto* proof : {"load", "forward", "gradients", "greedy", "save"})
      EXPECT_TRUE(rows.at(name).at(proof).as_bool()) << name << ": " << proof;
  }
  for (const auto& name : rows.keys())
    EXPECT_TRUE(weft::checkpoint::vlm_families().contains(name)) << name << " is not registered";
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
  const auto real = given.at("mask").unsqueeze(2);
  EXPECT_TRUE(close(output.logits * real, given.at("logits"), kForward));
  const auto T = output.logits.size(1);
  const auto loss = at::cross_entropy_loss(output.logits.narrow(1, 0, T - 1).flatten(0, 1),
                                           given.at("labels").narrow(1, 1, T - 1).flatten());
  EXPECT_NEAR(loss.item<double>(), given.at("loss").item<double>(),
              kForward * given.at("loss").item<double>());
  (loss + 0.1 * (output.logits * real * given.at("weight.logits")).sum()).backward();
  const auto expected = weft::checkpoint::load_vlm(folder() / "gradients-0", at::kDouble);
  if (loaded.language.family.starts_with("gemma")) {
    // The key map adds 1 to the weights of norms, of which these are gradients.
    const at::NoGradGuard no_grad;
    for (const auto& item : expected.language.model->named_parameters())
      if (item.key().find("norm") != std::string::npos) item.value().sub_(1);
  }
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
        saved / "model");
    auto again = weft::checkpoint::load_vlm(saved / "model");
    const at::NoGradGuard no_grad;
    EXPECT_TRUE(close(again.model->forward(input_of(given)).logits,
                      loaded.model->forward(input_of(given)).logits, 1e-6));
  }
}

}  // namespace vlms_test
