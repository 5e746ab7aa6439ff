#include <ATen/ATen.h>

#include <weft/checkpoint/tensors.hpp>
#include <weft/checkpoint/vocabulary.hpp>
#include <weft/data/grounding.hpp>
#include <weft/io/file.hpp>
#include <weft/tokenizers/added_tokens.hpp>
#include <weft/tokenizers/bpe_trainer.hpp>

#include "parity/references.hpp"
#include "support/gmock.hpp"
#include "support/python.hpp"
#include "support/shared_data.hpp"
#include "support/tensors.hpp"

namespace checkpoint_vocabulary_test {

using namespace weft::test;
using weft::Json;
using weft::checkpoint::LmFolder;

const std::vector<std::string> kTexts = {
    "the dog <loc0012><loc0345><loc0678><loc1023> dog ; a ball", "<loc0000>",
    " <loc1024> <seg127>x", "no mark <loc"};

LmFolder random_model(int64_t vocab_size, bool tied) {
  auto config = Json::object({{"model_type", "llama"},
                              {"vocab_size", vocab_size},
                              {"hidden_size", 32},
                              {"intermediate_size", 48},
                              {"num_hidden_layers", 2},
                              {"num_attention_heads", 4},
                              {"tie_word_embeddings", tied}});
  LmFolder out{.family = "llama", .config = config};
  out.model = weft::checkpoint::lm_families().at("llama").make(config);
  const at::NoGradGuard no_grad;
  for (auto& parameter : out.model->parameters()) parameter.normal_(0, 0.3);
  out.model->eval();
  return out;
}

/// Adds location tokens, saves both and holds them to what transformers reads and makes itself.
void compare_with_transformers(LmFolder folder, const weft::tokenizers::Tokenizer& before) {
  const TempFolder saved;
  weft::checkpoint::save_language_model(folder, saved / "before");
  before.save(saved / "before" / "tokenizer.json");
  const auto tokenizer =
      weft::tokenizers::with_added_tokens(before, weft::data::location_tokens(true));
  const auto size = std::max(tokenizer->vocab_size(), folder.model->info().vocab_size);
  weft::checkpoint::resize_vocabulary(folder, size);
  weft::checkpoint::save_language_model(folder, saved / "after");
  tokenizer->save(saved / "after" / "tokenizer.json");

  auto rows = Json::array();
  weft::checkpoint::TensorMap logits;
  for (size_t i = 0; i < kTexts.size(); ++i) {
    const auto ids = tokenizer->encode(kTexts[i]).ids;
    rows.push_back(Json::object({{"text", kTexts[i]}, {"ids", Json(ids)}}));
    const at::NoGradGuard no_grad;
    logits[std::to_string(i)] =
        folder.model->forward({.ids = at::tensor(ids, at::kLong).unsqueeze(0)}).logits;
  }
  rows.write(saved / "rows.json");
  weft::checkpoint::write_tensors(saved / "logits.safetensors", logits);
  const auto log = saved / "log.txt";
  EXPECT_EQ(run_python_file(WEFT_CHECKPOINT_SOURCES "/vocabulary.py", {saved.path().string()}, log),
            0)
      << weft::io::read_file(log);
}

TEST(Vocabulary, LocationTokensReloadInTransformersWithEqualIdsAndLogits) {
  WEFT_NEEDS_PYTHON();
  at::manual_seed(5);
  const auto tokenizer = weft::tokenizers::train_byte_level_bpe(
      {"the dog and the ball", "a dog a ball the dog"}, {.vocab_size = 280});
  compare_with_transformers(random_model(tokenizer->vocab_size(), false), *tokenizer);
  compare_with_transformers(random_model(tokenizer->vocab_size(), true), *tokenizer);
}

TEST(Vocabulary, SmolLm2ReadsLocationTokens) {
  WEFT_NEEDS_PYTHON();
  const auto path = real_model("smollm2-135m");
  WEFT_SKIP_WITHOUT(path / "model.safetensors");
  compare_with_transformers(weft::checkpoint::load_language_model(path),
                            *weft::tokenizers::load_tokenizer(path));
}

TEST(Vocabulary, TheFolderSaysItsNewSize) {
  auto folder = random_model(40, true);
  EXPECT_EQ(weft::checkpoint::resize_vocabulary(folder, 41, {.multiple_of = 8}), 48);
  EXPECT_EQ(folder.config.at("vocab_size").as_int(), 48);
  const TempFolder saved;
  weft::checkpoint::save_language_model(folder, saved / "m");
  EXPECT_EQ(weft::checkpoint::load_language_model(saved / "m").model->info().vocab_size, 48);
  LmFolder empty;
  EXPECT_THAT([&] { weft::checkpoint::resize_vocabulary(empty, 3); },
              ThrowsMessage<c10::ValueError>(HasSubstr("missing")));
}

TEST(Vocabulary, OfAVisionLanguageModelStandsInItsTextConfig) {
  WEFT_NEEDS_REFERENCES();
  const auto reference = weft::parity::references() / "llava" / "0";
  const auto given = weft::parity::read_cases(reference).front();
  const weft::models::VlmInput input = {.text = {.ids = given.at("ids"), .mask = given.at("mask")},
                                        .images = {.data = given.at("pixels")}};
  const at::NoGradGuard no_grad;
  auto folder = weft::checkpoint::load_vlm(reference);
  const auto before = folder.model->forward(input).logits;
  const auto size = before.size(2) + 5;
  EXPECT_EQ(weft::checkpoint::resize_vocabulary(folder, size), size);
  const TempFolder saved;
  weft::checkpoint::save_vlm(folder, saved / "m", folder.layout);
  auto again = weft::checkpoint::load_vlm(saved / "m");
  EXPECT_EQ(again.language.model->info().vocab_size, size);
  const auto after = again.model->forward(input).logits;
  EXPECT_TRUE(close(after, folder.model->forward(input).logits, 1e-6));
  EXPECT_TRUE(close(after.narrow(2, 0, before.size(2)), before, 1e-5));
}

TEST(AddTokens, ToAVisionLanguageModelAreSavedWithIt) {
  WEFT_NEEDS_REFERENCES();
  const auto reference = weft::parity::references() / "llava" / "0";
  auto folder = weft::checkpoint::load_vlm(reference);
  folder.tokenizer = nullptr;
  const auto tokens = weft::data::location_tokens();
  EXPECT_THAT([&] { weft::checkpoint::add_tokens(folder, tokens); },
              ThrowsMessage<weft::Error>(HasSubstr("holds no tokenizer")));
  folder.tokenizer =
      weft::tokenizers::train_byte_level_bpe({"the dog and the ball"}, {.vocab_size = 270});
  const auto before = folder.tokenizer->vocab_size();
  auto clash = folder;
  const auto placeholder = folder.model->options.image_token;
  clash.model->options.image_token = before + 7;
  EXPECT_THAT([&] { weft::checkpoint::add_tokens(clash, tokens); },
              ThrowsMessage<weft::Error>(HasSubstr("'<loc0007>' would get the id")));
  clash.model->options.image_token = placeholder;
  EXPECT_FALSE(folder.own_tokenizer);

  const auto rows = folder.model->language->info().vocab_size;
  EXPECT_EQ(weft::checkpoint::add_tokens(folder, tokens), 1024);
  EXPECT_EQ(folder.model->language->info().vocab_size, std::max(rows, before + 1024));
  EXPECT_EQ(weft::checkpoint::add_tokens(folder, tokens), 0);
  const TempFolder saved;
  weft::checkpoint::save_vlm(folder, saved / "m", folder.layout);
  auto again = weft::checkpoint::load_vlm(saved / "m");
  ASSERT_TRUE(again.tokenizer);
  const auto text = "dog <loc0012><loc1023>";
  EXPECT_EQ(again.tokenizer->encode(text).ids, folder.tokenizer->encode(text).ids);
  EXPECT_EQ(again.tokenizer->encode("<loc0012>", {.add_special_tokens = false}).ids,
            std::vector<int64_t>{before + 12});
  EXPECT_EQ(again.tokenizer->decode({before + 12}), "<loc0012>");
  EXPECT_EQ(again.model->language->info().vocab_size, std::max(rows, before + 1024));
  EXPECT_EQ(weft::checkpoint::add_tokens(again, tokens), 0);
}

}  // namespace checkpoint_vocabulary_test
