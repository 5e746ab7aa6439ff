#include <gmock/gmock.h>

#include <weft/core/error.hpp>
#include <weft/io/file.hpp>
#include <weft/tokenizers/tokenizer.hpp>

#include "support/python.hpp"
#include "support/temp_folder.hpp"
#include "tokenizers/golden.hpp"

namespace sentencepiece_test {

using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::tokenizers::load_tokenizer;
using weft::tokenizers::Tokenizer;

struct Case {
  const char* model;
  const char* golden;
};

std::string streamed(const Tokenizer& tokenizer, const std::vector<int64_t>& ids) {
  const auto stream = tokenizer.stream(false);
  std::string out;
  for (const auto id : ids) out += stream->push(id);
  return out + stream->flush();
}

void expect_row(const Tokenizer& tokenizer, const nlohmann::json& row) {
  const auto text = row["text"].get<std::string>();
  SCOPED_TRACE(text);
  const auto encoding = tokenizer.encode(text);
  EXPECT_EQ(encoding.ids, row["ids"].get<std::vector<int64_t>>());
  std::vector<int64_t> lean;
  tokenizer.encode_ids(text, {}, lean);
  EXPECT_EQ(lean, encoding.ids);
  EXPECT_EQ(encoding.offsets.size(), lean.size());
  EXPECT_EQ(tokenizer.decode(lean, false), row["decoded"].get<std::string>());
  EXPECT_EQ(streamed(tokenizer, lean), row["decoded"].get<std::string>());
  if (!row.contains("some")) return;
  const auto some = row["some"].get<std::vector<int64_t>>();
  EXPECT_EQ(tokenizer.decode(some, false), row["some_decoded"].get<std::string>());
  EXPECT_EQ(streamed(tokenizer, some), row["some_decoded"].get<std::string>());
}

struct SentencePiece : testing::TestWithParam<Case> {
  void SetUp() override {
    file = weft::test::shared_tokenizers() / GetParam().model;
    if (!std::filesystem::exists(file)) GTEST_SKIP() << "needs " << file;
  }
  std::filesystem::path file;
};

TEST_P(SentencePiece, EqualsEveryGolden) {
  const auto tokenizer = load_tokenizer(file);
  const auto rows = weft::test::read_golden(weft::test::shared_tokenizers() / GetParam().golden);
  ASSERT_EQ(rows.size(), 85u);
  for (const auto& row : rows) expect_row(*tokenizer, row);
}

TEST_P(SentencePiece, EqualsSentencePieceOnRandomTexts) {
  WEFT_NEEDS_PYTHON();
  const weft::test::TempFolder folder;
  const char* seed = std::getenv("WEFT_PARITY_SEED");
  const auto status = weft::test::run_python_file(
      WEFT_SPM_REFERENCE,
      {file.string(), seed ? seed : "1", "20000", (folder / "rows.jsonl").string()},
      folder / "log");
  if (status == 77) GTEST_SKIP() << "needs the Python package sentencepiece";
  ASSERT_EQ(status, 0);
  const auto tokenizer = load_tokenizer(file);
  const auto rows = weft::test::read_golden(folder / "rows.jsonl");
  EXPECT_EQ(rows.size(), 20000u);
  size_t failed = 0;
  for (const auto& row : rows) {
    expect_row(*tokenizer, row);
    if (HasFailure() && ++failed == 3) return;
  }
}

TEST_P(SentencePiece, SavesWhatItLoads) {
  const weft::test::TempFolder folder;
  load_tokenizer(file)->save(folder / "tokenizer.model");
  EXPECT_EQ(weft::io::read_file(folder / "tokenizer.model"), weft::io::read_file(file));
  const auto tokenizer = load_tokenizer(folder.path());
  EXPECT_EQ(tokenizer->file_name(), "tokenizer.model");
  EXPECT_EQ(tokenizer->encode("a dog").ids, load_tokenizer(file)->encode("a dog").ids);
  // A tokenizer.json gives the same ids on plain captions.
  tokenizer->save(folder / "tokenizer.json");
  const auto converted = load_tokenizer(folder / "tokenizer.json");
  for (const std::string text : {"a dog runs", "Two brindle dogs running in the grass."})
    EXPECT_EQ(converted->encode(text).ids, tokenizer->encode(text).ids) << text;
}

INSTANTIATE_TEST_SUITE_P(Models, SentencePiece,
                         testing::Values(Case{"llama2/tokenizer.model",
                                              "llama2/golden_tokenizer_model.jsonl"},
                                         Case{"t5/spiece.model", "t5/golden_spiece_model.jsonl"},
                                         Case{"sentencepiece/test_model.model",
                                              "sentencepiece/golden_test_model_model.jsonl"},
                                         Case{"sentencepiece/test_ja_model.model",
                                              "sentencepiece/golden_test_ja_model_model.jsonl"}));

struct FolderCase {
  const char* model;
  const char* name;
  const char* config;
};
struct Folders : testing::TestWithParam<FolderCase> {};

TEST_P(Folders, EqualTransformers) {
  WEFT_NEEDS_PYTHON();
  const auto model = weft::test::shared_tokenizers() / GetParam().model;
  if (!std::filesystem::exists(model)) GTEST_SKIP() << "needs " << model;
  const weft::test::TempFolder folder, rows_folder;
  std::filesystem::copy_file(model, folder / GetParam().name);
  weft::io::write_file(folder / "tokenizer_config.json", GetParam().config);
  const auto out = rows_folder / "rows.jsonl";
  const auto status = weft::test::run_python_file(
      WEFT_SPM_REFERENCE, {folder.path().string(), "1", "3000", out.string()}, rows_folder / "log");
  if (status == 77) GTEST_SKIP() << "needs the Python package sentencepiece";
  ASSERT_EQ(status, 0);
  const auto tokenizer = load_tokenizer(folder.path());
  const auto rows = weft::test::read_golden(out);
  EXPECT_EQ(rows.size(), 3000u);
  size_t failed = 0;
  for (const auto& row : rows) {
    const auto text = row["text"].get<std::string>();
    EXPECT_EQ(tokenizer->encode(text).ids, row["ids"].get<std::vector<int64_t>>()) << text;
    if (HasFailure() && ++failed == 3) return;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Transformers, Folders,
    testing::Values(
        FolderCase{"llama2/tokenizer.model", "tokenizer.model",
                   R"({"tokenizer_class": "LlamaTokenizer"})"},
        FolderCase{"llama2/tokenizer.model", "tokenizer.model",
                   R"({"tokenizer_class": "LlamaTokenizer", "add_bos_token": true,
                       "add_eos_token": true, "legacy": true})"},
        FolderCase{"t5/spiece.model", "spiece.model", R"({"tokenizer_class": "T5Tokenizer"})"},
        FolderCase{"t5/spiece.model", "spiece.model", R"({"tokenizer_class": "SiglipTokenizer"})"},
        FolderCase{"t5/spiece.model", "spiece.model",
                   R"({"tokenizer_class": "SiglipTokenizer", "do_lower_case": false})"}));

TEST(Siglip, CleansAndPads) {
  const auto model = weft::test::shared_tokenizers() / "t5/spiece.model";
  if (!std::filesystem::exists(model)) GTEST_SKIP() << "needs " << model;
  const weft::test::TempFolder folder;
  std::filesystem::copy_file(model, folder / "spiece.model");
  weft::io::write_file(folder / "tokenizer_config.json",
                       R"({"tokenizer_class": "SiglipTokenizer", "model_max_length": 64})");
  const auto tokenizer = load_tokenizer(folder.path());
  EXPECT_EQ(tokenizer->pad_id(), 1);
  const auto batch = tokenizer->encode_ids_batch(
      {"A photo, of a CAT!", "!!"},
      {.max_length = 12, .padding = weft::tokenizers::Padding::max_length});
  // As transformers 5.23 gives them.
  EXPECT_THAT(batch.ids, testing::ElementsAre(3, 9, 1202, 13, 3, 9, 1712, 1, 1, 1, 1, 1,  //
                                              1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1));
  EXPECT_EQ(tokenizer->file_name(), "spiece.model");
  EXPECT_THAT([&] { tokenizer->save(folder / "tokenizer.json"); },
              ThrowsMessage<weft::Error>(HasSubstr("cannot express how SigLIP cleans texts")));
}

void expect_error(const std::string& bytes, const std::string& what) {
  const weft::test::TempFolder folder;
  weft::io::write_file(folder / "tokenizer.model", bytes);
  EXPECT_THAT(
      [&] { load_tokenizer(folder.path()); },
      ThrowsMessage<weft::Error>(testing::AllOf(HasSubstr("tokenizer.model"), HasSubstr(what))));
}

TEST(SentencePieceFile, NamesWhatIsWrong) {
  expect_error("", "it has no pieces");
  expect_error("\x0a", "the end in the middle of a number at byte 1");
  expect_error("\x0a\x7f", "a field of 127 bytes, of which 0 are there");
  expect_error("\x0b", "the wire type 3");
  const std::string unknown("\x0a\x09\x0a\x05<unk>\x18\x02", 11);
  expect_error(unknown + unknown, "the piece '<unk>' stands there twice");
  expect_error(std::string("\x0a\x03\x0a\x01x", 5), "expected one unknown piece, found 0");
  expect_error(unknown + std::string("\x12\x02\x18\x03", 4), "of the types word and char");
}

TEST(SentencePieceFile, AsksForAConfigurationThatItKnows) {
  const auto model = weft::test::shared_tokenizers() / "t5/spiece.model";
  if (!std::filesystem::exists(model)) GTEST_SKIP() << "needs " << model;
  const weft::test::TempFolder folder;
  std::filesystem::copy_file(model, folder / "spiece.model");
  weft::io::write_file(folder / "tokenizer_config.json",
                       R"({"tokenizer_class": "XlnetTokenizer"})");
  EXPECT_THAT([&] { load_tokenizer(folder.path()); },
              ThrowsMessage<weft::Error>(HasSubstr("found 'XlnetTokenizer'")));
  // T5Tokenizer's ids are those of its tokenizer.json.
  weft::io::write_file(folder / "tokenizer_config.json", R"({"tokenizer_class": "T5Tokenizer"})");
  const auto tokenizer = load_tokenizer(folder.path());
  EXPECT_EQ(tokenizer->vocab_size(), 32100);
  for (const auto& row :
       weft::test::read_golden(weft::test::shared_tokenizers() / "t5/golden_tokenizer_json.jsonl"))
    weft::test::expect_golden(*tokenizer, row);
}

}  // namespace sentencepiece_test
