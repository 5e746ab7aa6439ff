#include <algorithm>

#include <gmock/gmock.h>

#include <ATen/ATen.h>

#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/core/json.hpp>
#include <weft/data/vlm_inputs.hpp>
#include <weft/io/file.hpp>
#include <weft/text/generation.hpp>

#include "support/python.hpp"
#include "support/temp_folder.hpp"

namespace paligemma_test {

using weft::checkpoint::load_vlm;
using weft::checkpoint::VlmFolder;
using weft::data::ConversationTokens;

/// What is asked and answered of an image of `visual` tokens.
ConversationTokens tokens_of(const VlmFolder& folder, const weft::Json& row, int64_t visual) {
  const auto encoder = weft::data::conversation_encoder(folder, "model", 512);
  const weft::tokenizers::Message question{
      .role = "user", .content = std::string("<image>\n") + row.at("prompt").as_string()};
  if (row.at("suffix").is_null()) return encoder.prompt({question}, {0}, {visual});
  return encoder.encode(
      {.images = {0},
       .messages = {question, {.role = "assistant", .content = row.at("suffix").as_string()}}},
      {visual});
}

/// Ids, prefix and labels are those of the processor.
void expect_rows(const VlmFolder& folder, const weft::Json& rows, int64_t visual) {
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto row = rows.at(i);
    SCOPED_TRACE(row.dump());
    const auto tokens = tokens_of(folder, row, visual);
    EXPECT_EQ(tokens.ids, row.at("input_ids").as_ints());
    const auto types = row.at("token_type_ids").as_ints();
    EXPECT_EQ(tokens.prefix, std::ranges::count(types, 0));
    if (row.at("suffix").is_null()) continue;
    auto targets = row.at("labels").as_ints();
    targets.erase(targets.begin());
    targets.push_back(-100);
    EXPECT_EQ(tokens.targets, targets);
  }
}

// Prompts, answers and what a chat says about a picture, against PaliGemmaProcessor.
TEST(ParityPaligemma, ConversationsAreWhatTheProcessorMakesOfThem) {
  WEFT_NEEDS_PYTHON();
  const weft::test::TempFolder work;
  const auto log = work / "log.txt";
  const std::string script = WEFT_PARITY_SOURCES "/paligemma_prompts.py";
  ASSERT_EQ(weft::test::run_python_file(script, {"write", work.path().string()}, log), 0)
      << weft::io::read_file(log);
  SCOPED_TRACE(weft::io::read_file(log));  // the seed
  const auto expected = weft::Json::read(work / "prompts.json");
  const auto rows = expected.at("rows");
  auto loaded = load_vlm(work / "model");
  const auto seen = weft::data::visual_transform(loaded)(
      weft::io::read_image((work / "picture.png").string()), false);
  expect_rows(loaded, rows, seen.tokens);
  // The same from what transformers 5 writes for a processor.
  std::filesystem::copy(work / "model", work / "bare");
  std::filesystem::remove(work / "bare" / "preprocessor_config.json");
  std::filesystem::copy(work / "processor" / "processor_config.json", work / "bare");
  EXPECT_EQ(weft::to_json(load_vlm(work / "bare").tiling), weft::to_json(loaded.tiling));

  const at::NoGradGuard no_grad;
  const auto prompt = weft::data::to_lm_input(tokens_of(loaded, rows.at(0), seen.tokens));
  const auto input =
      loaded.model->splice(prompt, loaded.model->embed_images({.data = seen.pixels}));
  const auto made =
      weft::text::generate(*loaded.model->language, input, {.max_new_tokens = 8}).front();
  EXPECT_EQ(made.ids, expected.at("generated").as_ints());

  // Saved in its own layout it is transformers' again, in weft's it is asked in the same way.
  weft::checkpoint::save_vlm(loaded, work / "saved", "paligemma");
  EXPECT_EQ(weft::test::run_python_file(
                script, {"check", work.path().string(), (work / "saved").string()}, log),
            0)
      << weft::io::read_file(log);
  expect_rows(load_vlm(work / "saved"), rows, seen.tokens);
  weft::checkpoint::save_vlm(loaded, work / "own");
  const auto own = load_vlm(work / "own");
  EXPECT_TRUE(own.model->options.prefix_attention);
  expect_rows(own, rows, seen.tokens);
}

}  // namespace paligemma_test
