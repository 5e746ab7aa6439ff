#include <chrono>
#include <cstdlib>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <weft/core/json.hpp>
#include <weft/io/paths.hpp>
#include <weft/io/tar.hpp>
#include <weft/tokenizers/bpe_trainer.hpp>
#include <weft/tokenizers/tokenizer.hpp>

#include "support/python.hpp"
#include "support/temp_folder.hpp"
#include "tokenizers/golden.hpp"

namespace hf_reference_test {

using weft::tokenizers::load_tokenizer;

bool reference(const std::string& arguments) {
  return !std::system(
      fmt::format("'{}' '{}' {}", weft::test::python(), WEFT_HF_REFERENCE, arguments).c_str());
}

// The first differences say enough.
void expect_rows(const weft::tokenizers::Tokenizer& tokenizer, const std::filesystem::path& file,
                 size_t at_least) {
  size_t rows = 0, failed = 0;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line); ++rows) {
    const auto row = nlohmann::json::parse(line);
    weft::test::expect_golden(tokenizer, row);
    if (testing::Test::HasFailure() && ++failed == 3) return;
  }
  EXPECT_GE(rows, at_least);
}

std::filesystem::path tokenizer_file(const std::string& name) {
  if (name == "smollm2") {
    const char* models = std::getenv("WEFT_MODELS_DIR");
    return std::filesystem::path(models ? models : "") / "smollm2-135m/tokenizer.json";
  }
  return weft::test::shared_tokenizers() / name / "tokenizer.json";
}

class RandomTexts : public testing::TestWithParam<std::string> {};

TEST_P(RandomTexts, EqualHuggingFace) {
  WEFT_NEEDS_PYTHON();
  const auto file = tokenizer_file(GetParam());
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "needs " << file;
  const weft::test::TempFolder folder;
  const char* seed = std::getenv("WEFT_PARITY_SEED");
  const auto out = folder / "rows.jsonl";
  ASSERT_TRUE(reference(
      fmt::format("encode '{}' {} 20000 '{}'", file.string(), seed ? seed : "1", out.string())));
  expect_rows(*load_tokenizer(file), out, 20000);
}
INSTANTIATE_TEST_SUITE_P(HuggingFace, RandomTexts,
                         testing::Values("minilm", "phi-2", "whisper", "smollm2", "phi-3-mini",
                                         "t5"));

class Sweep : public testing::TestWithParam<std::string> {};

TEST_P(Sweep, SeesEveryCodePointAsHuggingFaceDoes) {
  WEFT_NEEDS_PYTHON();
  const weft::test::TempFolder folder;
  const auto file = folder / "tokenizer.json", out = folder / "rows.jsonl";
  ASSERT_TRUE(
      reference(fmt::format("sweep {} '{}' '{}'", GetParam(), file.string(), out.string())));
  expect_rows(*load_tokenizer(file), out, 0x33000 / 16);
}
INSTANTIATE_TEST_SUITE_P(HuggingFace, Sweep, testing::Values("bert", "pattern", "digits", "word"));

/// The vocab.json and merges.txt of a trained tokenizer, as GPT-2's are published.
static void write_gpt2(const weft::test::TempFolder& folder, const std::string& special) {
  const auto tokenizer = weft::tokenizers::train_byte_level_bpe(
      {"A dog runs across the grass while two children in red jackets watch. It's they'll",
       "the the dog dog dogs running runs 2023 2023 na\u00efve na\u00efve children's"},
      {.vocab_size = 400,
       .min_frequency = 1,
       .special_tokens = {special},
       .bos_token = "",
       .eos_token = ""});
  tokenizer->save(folder / "whole.json");
  std::ifstream in(folder / "whole.json");
  const auto model = nlohmann::json::parse(in)["model"];
  std::filesystem::remove(folder / "whole.json");
  std::ofstream(folder / "vocab.json") << model["vocab"];
  std::ofstream merges(folder / "merges.txt");
  merges << "#version: 0.2\n";
  for (const auto& merge : model["merges"])
    merges << merge[0].get<std::string>() << ' ' << merge[1].get<std::string>() << '\n';
}

TEST(Gpt2Folder, EqualsTransformers) {
  WEFT_NEEDS_PYTHON();
  const weft::test::TempFolder folder;
  const auto out = folder / "rows.jsonl";
  write_gpt2(folder, "<|endoftext|>");
  const auto added = weft::Json::read(folder / "vocab.json").size();
  // As published, and with what a fine-tuned one adds.
  for (const auto& config :
       {std::string(R"({"model_max_length": 1024})"),
        R"({"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": true, "pad_token": "<pad>",
            "added_tokens_decoder": {")" +
            std::to_string(added) + R"(": {"content": "<pad>", "lstrip": false, "rstrip": false,
            "single_word": false, "normalized": false, "special": true}}})"}) {
    std::ofstream(folder / "tokenizer_config.json") << config;
    ASSERT_TRUE(
        reference(fmt::format("gpt2 '{}' 3000 '{}'", folder.path().string(), out.string())));
    expect_rows(*load_tokenizer(folder.path()), out, 3000);
  }
  EXPECT_EQ(load_tokenizer(folder / "vocab.json")->pad_id(), static_cast<int64_t>(added));
}

TEST(Gpt2Folder, RefusesOthersOfTheSameNames) {
  const weft::test::TempFolder folder;
  const auto error = [&](const char* part) {
    EXPECT_THAT([&] { load_tokenizer(folder.path()); },
                testing::ThrowsMessage<weft::Error>(testing::HasSubstr(part)));
  };
  write_gpt2(folder, "<s>");
  error("the unk_token '<|endoftext|>' is not in it");
  std::ofstream(folder / "tokenizer_config.json") << R"({"tokenizer_class": "CLIPTokenizer"})";
  error("but tokenizer_class is 'CLIPTokenizer'");
  std::filesystem::remove(folder / "tokenizer_config.json");
  write_gpt2(folder, "<|endoftext|>");
  std::ofstream(folder / "merges.txt", std::ios::app) << "no-merge\n";
  error("expected two tokens and a space, found 'no-merge'");
  std::filesystem::remove(folder / "merges.txt");
  error("merges.txt: cannot be opened");
}

/// The captions of shards of flickr8k-128.
static std::vector<std::string> read_captions(const std::string& names) {
  std::vector<std::string> captions;
  const auto shards = std::filesystem::path(WEFT_SHARED_DIR) / "data/flickr8k-128";
  for (const auto& path : weft::io::expand_paths((shards / names).string())) {
    weft::io::TarReader reader(path);
    while (const auto member = reader.next()) {
      if (!member->name.ends_with(".json")) continue;
      for (auto& caption : weft::Json::parse(member->bytes).at("captions").as_strings())
        captions.push_back(std::move(caption));
    }
  }
  return captions;
}

/// Configured as a published tokenizer that is not at hand, and trained on captions.
class TrainedFamilies : public testing::TestWithParam<std::string> {};

TEST_P(TrainedFamilies, EqualHuggingFace) {
  WEFT_NEEDS_PYTHON();
  if (!std::filesystem::exists(std::filesystem::path(WEFT_SHARED_DIR) / "data/flickr8k-128"))
    GTEST_SKIP() << "needs the captions of flickr8k-128";
  const weft::test::TempFolder folder;
  const auto file = folder / "tokenizer.json", out = folder / "rows.jsonl";
  weft::to_json(read_captions("val-000000.tar")).write(folder / "texts.json", -1);
  ASSERT_TRUE(
      reference(fmt::format("family {} '{}' '{}' '{}'", GetParam(),
                            (folder / "texts.json").string(), file.string(), out.string())));
  const auto tokenizer = load_tokenizer(file);
  expect_rows(*tokenizer, out, 10000);
  tokenizer->save(folder / "again.json");
  expect_rows(*load_tokenizer(folder / "again.json"), out, 10000);
}
INSTANTIATE_TEST_SUITE_P(HuggingFace, TrainedFamilies,
                         testing::Values("llama3", "qwen2", "gpt4o", "gpt4", "mistral", "gemma",
                                         "llama2", "llama2_metaspace", "xlmr", "albert", "words"));

TEST(BpeTrainer, LearnsWhatHuggingFaceLearnsFromTheCaptions) {
  WEFT_NEEDS_PYTHON();
  const auto shards = std::filesystem::path(WEFT_SHARED_DIR) / "data/flickr8k-128";
  if (!std::filesystem::exists(shards)) GTEST_SKIP() << "needs " << shards;
  const auto captions = read_captions("train-{000000..000006}.tar");
  ASSERT_EQ(captions.size(), 34160u);
  const weft::test::TempFolder folder;
  weft::to_json(captions).write(folder / "texts.json", -1);
  const auto start = std::chrono::steady_clock::now();
  const auto tokenizer = weft::tokenizers::train_byte_level_bpe(captions, {});
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
  EXPECT_EQ(tokenizer->vocab_size(), 8000);
  EXPECT_EQ(tokenizer->pad_id(), 0);
  tokenizer->save(folder / "ours.json");
  ASSERT_TRUE(reference(fmt::format("train '{}' 8000 '{}'", (folder / "texts.json").string(),
                                    (folder / "theirs.json").string())));
  const auto model = [&](const char* name) {
    std::ifstream in(folder / name);
    return nlohmann::json::parse(in)["model"];
  };
  EXPECT_EQ(model("ours.json")["vocab"], model("theirs.json")["vocab"]);
  EXPECT_EQ(model("ours.json")["merges"], model("theirs.json")["merges"]);

  const auto out = folder / "rows.jsonl";
  ASSERT_TRUE(reference(
      fmt::format("encode '{}' 1 3000 '{}'", (folder / "ours.json").string(), out.string())));
  expect_rows(*tokenizer, out, 3000);
  expect_rows(*load_tokenizer(folder / "ours.json"), out, 3000);
}

}  // namespace hf_reference_test
