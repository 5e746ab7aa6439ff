#include <map>

#include <torch/torch.h>

#include <weft/checkpoint/lm_folder.hpp>
#include <weft/checkpoint/tensors.hpp>
#include <weft/core/json.hpp>
#include <weft/text/decoder_lm.hpp>
#include <weft/text/generation.hpp>

#include "support/gmock.hpp"
#include "support/python.hpp"
#include "support/temp_folder.hpp"
#include "support/tensors.hpp"

namespace generation_test {

using namespace weft::test;
using weft::text::generate;
using weft::text::GenerateOptions;

torch::Tensor row(const std::vector<int64_t>& ids) {
  return torch::tensor(ids, torch::kLong).unsqueeze(0);
}

std::vector<std::vector<int64_t>> rows_of(const torch::Tensor& ids) {
  std::vector<std::vector<int64_t>> out;
  for (int64_t i = 0; i < ids.size(0); ++i) {
    const auto one = ids[i].contiguous();
    out.emplace_back(one.data_ptr<int64_t>(), one.data_ptr<int64_t>() + one.numel());
  }
  return out;
}

TEST(Generation, GreedyBeamsAndProcessorsAreTransformers) {
  WEFT_NEEDS_PYTHON();
  const TempFolder folder;
  const auto seed = std::to_string(torch::randint(100000, {1}).item<int64_t>());
  SCOPED_TRACE("seed " + seed);
  ASSERT_EQ(run_python_file(WEFT_TEXT_SOURCES "/generation_reference.py",
                            {folder.path().string(), seed}, folder / "log.txt"),
            0);
  const auto loaded = weft::checkpoint::load_language_model(folder / "model");
  const auto cases = weft::Json::read(folder / "cases.json");
  ASSERT_EQ(cases.size(), 24u);
  for (size_t i = 0; i < cases.size(); ++i) {
    const auto given = cases.at(i);
    SCOPED_TRACE(given.dump());
    const auto options = weft::from_json<GenerateOptions>(given.at("options"));
    const auto prompt = row(given.at("prompt").as_ints());
    EXPECT_EQ(generate(*loaded.model, {.ids = prompt}, options).front().ids,
              given.at("ids").as_ints());
    // The same from embeddings, where no prompt's ids are there to be penalised.
    const torch::NoGradGuard no_grad;
    if (options.repetition_penalty == 1) {
      EXPECT_EQ(
          generate(*loaded.model, {.embeddings = loaded.model->embed(prompt)}, options).front().ids,
          given.at("ids").as_ints());
    }
  }
  const auto settings = weft::Json::read(folder / "options.json");
  const auto tensors = weft::checkpoint::read_tensors(folder / "logits.safetensors");
  for (size_t i = 0; i < settings.size(); ++i) {
    const auto k = std::to_string(i);
    const auto options = weft::from_json<GenerateOptions>(settings.at(i));
    const auto actual = weft::text::process_logits(tensors.at(k + ".logits"), options,
                                                   rows_of(tensors.at(k + ".ids")));
    EXPECT_TRUE(torch::allclose(actual, tensors.at(k + ".expected"))) << settings.at(i).dump();
  }
}

/// A model that counts: behind id i comes i + 1.
struct Counter : weft::LanguageModel {
  weft::LmOutput forward(const weft::LmInput& input) override {
    const auto next = (input.ids.slice(1, input.ids.size(1) - 1) + 1).remainder(10);
    input.cache->layers.resize(1);
    auto kv = torch::zeros({input.ids.size(0), 1, input.ids.size(1), 1});
    input.cache->layers[0].append(kv, kv);
    ++calls;
    return {.logits = torch::one_hot(next, 10).to(torch::kFloat) * strength};
  }
  torch::Tensor embed(const torch::Tensor& ids) override { return ids; }
  weft::LmHead head() const override { return {}; }
  weft::LmInfo info() const override {
    return {.family = "counter", .num_layers = 1, .vocab_size = 10};
  }
  void add_hook(std::shared_ptr<weft::LayerHook>) override {}
  int calls = 0;
  double strength = 30;
};

TEST(Generation, RowsEndApart) {
  Counter model;
  const auto out = generate(model, {.ids = torch::tensor({{1}, {4}}, torch::kLong)},
                            {.max_new_tokens = 6, .end_tokens = {7, 9}});
  EXPECT_EQ(out[0].ids, (std::vector<int64_t>{2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(out[1].ids, (std::vector<int64_t>{5, 6, 7}));
  EXPECT_TRUE(out[0].finished && out[1].finished);
  EXPECT_EQ(model.calls, 6);
  Counter other;
  const auto cut = generate(other, {.ids = row({0})}, {.max_new_tokens = 3});
  EXPECT_FALSE(cut[0].finished);
  EXPECT_EQ(cut[0].ids, (std::vector<int64_t>{1, 2, 3}));
}

// Learned positions end: the last token is made from the last of them.
TEST(Generation, EndsWithTheModelsPositions) {
  const auto model = std::make_shared<weft::text::DecoderLmImpl>(
      weft::text::DecoderLmOptions{.vocab_size = 10,
                                   .num_layers = 1,
                                   .block = {.attention = {.hidden_size = 8, .num_heads = 2},
                                             .mlp = {.hidden_size = 8, .intermediate_size = 8}},
                                   .max_tokens = 6,
                                   .learned_positions = true});
  model->eval();
  const auto prompt = row({1, 2, 3, 4});
  for (const int64_t beams : {1, 2}) {
    const auto made =
        generate(*model, {.ids = prompt}, {.max_new_tokens = 9, .num_beams = beams}).front();
    EXPECT_EQ(made.ids.size(), 3u);
    EXPECT_FALSE(made.finished);
  }
  EXPECT_THAT(
      [&] {
        generate(*model, {.ids = row({1, 2, 3, 4, 5, 6})}, {});
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("leave no room among the 6")));
}

TEST(Generation, ACallbackSeesEveryTokenAndMayEndIt) {
  Counter model;
  std::vector<int64_t> seen;
  const auto out = generate(model, {.ids = row({0})}, {.max_new_tokens = 9}, nullptr,
                            [&](int64_t r, int64_t id) {
                              EXPECT_EQ(r, 0);
                              seen.push_back(id);
                              return id != 4;
                            });
  EXPECT_EQ(seen, (std::vector<int64_t>{1, 2, 3, 4}));
  EXPECT_EQ(out[0].ids, seen);
}

TEST(Generation, DrawsFollowTheChancesAndTheSeed) {
  Counter model;
  model.strength = 2;
  const auto prompts = torch::zeros({4000, 1}, torch::kLong);
  const auto draw = [&](uint64_t seed) {
    std::map<int64_t, double> counts;
    for (const auto& one :
         generate(model, {.ids = prompts}, {.max_new_tokens = 1, .temperature = 2.0, .seed = seed}))
      counts[one.ids[0]] += 1.0 / 4000;
    return counts;
  };
  auto counts = draw(1);
  EXPECT_NEAR(counts[1], std::exp(1) / (std::exp(1) + 9), 0.03);
  EXPECT_NEAR(counts[5], 1 / (std::exp(1) + 9), 0.02);
  EXPECT_EQ(draw(1), counts);
  EXPECT_NE(draw(2), counts);
}

TEST(GenerationErrors, NameTheOption) {
  Counter model;
  const auto with = [&](const GenerateOptions& options) {
    return [&model, options] { generate(model, {.ids = row({0})}, options); };
  };
  EXPECT_THAT(with({.top_p = 0}),
              ThrowsMessage<c10::ValueError>(HasSubstr("top_p must be in (0, 1], got 0")));
  EXPECT_THAT(with({.temperature = 1, .num_beams = 2}),
              ThrowsMessage<c10::ValueError>(HasSubstr("beam search goes with temperature 0")));
  EXPECT_THAT(with({.stop = {"x"}}), ThrowsMessage<c10::ValueError>(HasSubstr("need a tokenizer")));
}

}  // namespace generation_test
