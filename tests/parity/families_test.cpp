#include <gmock/gmock.h>

#include <ATen/ATen.h>

#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/core/json.hpp>

#include "parity/references.hpp"
#include "support/python.hpp"
#include "support/shared_data.hpp"
#include "support/temp_folder.hpp"
#include "support/tensors.hpp"

namespace families_test {

namespace fs = std::filesystem;
using weft::test::close;

constexpr double kForward = 1e-5, kDeepForward = 2e-5;
constexpr int kConfigurations = 4;

weft::Json table() { return weft::Json::read(WEFT_PARITY_SOURCES "/families.json"); }

weft::EncoderInput input_of(const weft::parity::Case& given) {
  if (given.has("pixels"))
    return {.data = given.at("pixels").to(at::kFloat),
            .mask = given.has("mask") ? given.at("mask") : at::Tensor()};
  return {.data = given.at("ids"), .mask = given.at("mask")};
}

weft::EncoderOutput encode(weft::Encoder& encoder, const weft::EncoderInput& input) {
  weft::EncodeOptions options;
  for (int64_t i = 0; i <= encoder.info().num_layers; ++i) options.hidden_layers.push_back(i);
  return encoder.encode(input, options);
}

// Padding is not compared: the reference holds 0 there.
at::Tensor real_tokens(const at::Tensor& tokens, const weft::EncoderInput& input) {
  return input.mask.defined() ? tokens * input.mask.unsqueeze(2).to(tokens.scalar_type()) : tokens;
}

void expect_outputs(const weft::EncoderOutput& output, const weft::EncoderInput& input,
                    const weft::parity::Case& given, double tolerance) {
  EXPECT_TRUE(close(real_tokens(output.tokens, input), given.at("tokens"), tolerance)) << "tokens";
  if (given.has("pooled")) {
    EXPECT_TRUE(close(output.pooled, given.at("pooled"), tolerance)) << "pooled";
  }
  for (size_t i = 0; i < output.hidden.size(); ++i) {
    const auto name = "hidden." + std::to_string(i);
    ASSERT_TRUE(given.has(name));
    EXPECT_TRUE(close(real_tokens(output.hidden[i], input), given.at(name), tolerance)) << name;
  }
  EXPECT_FALSE(given.has("hidden." + std::to_string(output.hidden.size())));
}

TEST(ParityFamilies, EveryRegisteredFamilyHasARowAndThreeConfigurations) {
  const auto rows = table();
  for (const auto& name : weft::checkpoint::families().names()) {
    ASSERT_TRUE(rows.contains(name)) << name << " has no row in tests/parity/families.json";
    const auto row = rows.at(name);
    EXPECT_EQ(row.at("role").as_string(),
              weft::to_json(weft::checkpoint::families().at(name).role).as_string());
    EXPECT_GE(row.at("configurations").as_int(), 3) << name;
    for (const auto* proof : {"load", "forward", "gradients", "save"})
      EXPECT_TRUE(row.at(proof).as_bool()) << name << ": " << proof;
  }
  for (const auto& name : rows.keys())
    EXPECT_TRUE(weft::checkpoint::families().contains(name)) << name << " is not registered";
  WEFT_NEEDS_REFERENCES();
  for (const auto& name : rows.keys()) {
    for (int64_t k = 0; k < rows.at(name).at("configurations").as_int(); ++k) {
      const auto folder = weft::parity::references() / name / std::to_string(k);
      ASSERT_TRUE(fs::exists(folder / "config.json")) << folder << " has no reference";
      const auto config = weft::Json::read(folder / "config.json");
      EXPECT_GE(config.contains("model_args") ? config.at("model_args").at("depth").as_int()
                                              : config.at("num_hidden_layers").as_int(),
                2);
    }
  }
}

struct ParityFamily : testing::TestWithParam<std::tuple<std::string, int>> {
  fs::path folder() const {
    const auto& [family, k] = GetParam();
    return weft::parity::references() / family / std::to_string(k);
  }
};

TEST_P(ParityFamily, ForwardHiddenStatesAndGradients) {
  WEFT_NEEDS_REFERENCES();
  const auto cases = weft::parity::read_cases(folder());
  ASSERT_GE(cases.size(), 2u);
  for (size_t c = 0; c < cases.size(); ++c) {
    SCOPED_TRACE(cases[c].file.string());
    const auto loaded = weft::checkpoint::load_encoder(folder());
    auto& encoder = *loaded.encoder;
    const auto input = input_of(cases[c]);
    const auto output = encode(encoder, input);
    expect_outputs(output, input, cases[c], kForward);

    auto loss = (real_tokens(output.tokens, input) * cases[c].at("weight.tokens")).sum();
    if (cases[c].has("pooled")) loss = loss + (output.pooled * cases[c].at("weight.pooled")).sum();
    loss.backward();
    const auto expected =
        weft::checkpoint::load_encoder(folder() / ("gradients-" + std::to_string(c)), at::kDouble);
    weft::parity::expect_gradients(encoder, *expected.encoder);
  }
}

INSTANTIATE_TEST_SUITE_P(, ParityFamily,
                         testing::Combine(testing::ValuesIn(weft::checkpoint::families().names()),
                                          testing::Range(0, kConfigurations)),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_" +
                                  std::to_string(std::get<1>(info.param));
                         });

TEST(ParityFamilies, SavedFoldersReloadInTransformersWithEqualResults) {
  WEFT_NEEDS_REFERENCES();
  const auto& references = weft::parity::references();
  const weft::test::TempFolder saved;
  for (const auto& name : weft::checkpoint::families().names()) {
    fs::create_directories(saved / name);
    for (int k = 0; k < kConfigurations; ++k) {
      const auto index = std::to_string(k);
      auto loaded = weft::checkpoint::load_encoder(references / name / index);
      weft::checkpoint::save_encoder(loaded, saved / name / index);
    }
  }
  const auto log = saved / "log.txt";
  const auto status = weft::test::run_python_file(
      WEFT_PARITY_SOURCES "/reload.py", {references.string(), saved.path().string()}, log);
  EXPECT_EQ(status, 0) << weft::io::read_file(log);
}

void expect_real(const std::string& model, const std::string& family, bool bytes) {
  WEFT_NEEDS_REFERENCES();
  const auto folder = weft::test::real_model(model);
  WEFT_SKIP_WITHOUT(folder / "model.safetensors");
  const auto expected = weft::parity::references() / "real" / model;
  WEFT_SKIP_WITHOUT(expected);
  const auto loaded = weft::checkpoint::load_encoder(folder);
  EXPECT_EQ(loaded.family, family);
  EXPECT_TRUE(loaded.report.defaulted.empty());
  const at::NoGradGuard no_grad;
  const auto tolerance = loaded.encoder->info().num_layers > 12 ? kDeepForward : kForward;
  for (const auto& given : weft::parity::read_cases(expected)) {
    SCOPED_TRACE(given.file.string());
    const auto input = input_of(given);
    expect_outputs(encode(*loaded.encoder, input), input, given, tolerance);
    if (!bytes) continue;
    SCOPED_TRACE("from bytes");
    const weft::EncoderInput raw{.data = given.at("bytes")};
    expect_outputs(encode(*loaded.encoder, raw), raw, given, kDeepForward);
  }
}

TEST(ParityReal, Dinov2SmallOnPhotos) { expect_real("dinov2-small", "dinov2", true); }
TEST(ParityReal, MiniLmOnCaptions) { expect_real("minilm-l6", "bert", false); }

}  // namespace families_test
