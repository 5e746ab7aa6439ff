#include <gmock/gmock.h>

#include <weft/core/error.hpp>
#include <weft/io/file.hpp>
#include <weft/tokenizers/tokenizer.hpp>

#include "support/python.hpp"
#include "support/temp_folder.hpp"
#include "tokenizers/golden.hpp"

namespace tiktoken_test {

using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::tokenizers::load_tiktoken;
using weft::tokenizers::load_tokenizer;
using weft::tokenizers::TiktokenPattern;
using weft::tokenizers::Tokenizer;

std::filesystem::path whisper(const std::string& name) {
  return weft::test::shared_tokenizers() / "whisper" / name;
}

void expect_row(const Tokenizer& tokenizer, const nlohmann::json& row) {
  const auto text = row["text"].get<std::string>();
  const auto ids = row["ids"].get<std::vector<int64_t>>();
  EXPECT_EQ(tokenizer.encode(text).ids, ids) << text;
  EXPECT_EQ(tokenizer.decode(ids), text);
}

class TiktokenGoldens : public testing::TestWithParam<std::string> {};

TEST_P(TiktokenGoldens, AreEqual) {
  const auto file = whisper(GetParam() + ".tiktoken");
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "needs " << file;
  const weft::test::TempFolder folder;
  const auto tokenizer = load_tokenizer(file);
  // As read, and as written in both forms.
  tokenizer->save(folder / "again.gpt2.tiktoken");
  tokenizer->save(folder / "tokenizer.json");
  const auto again = load_tokenizer(folder / "again.gpt2.tiktoken");
  const auto converted = load_tokenizer(folder / "tokenizer.json");
  const auto rows = weft::test::read_golden(whisper("golden_" + GetParam() + "_tiktoken.jsonl"));
  ASSERT_GE(rows.size(), 85u);
  for (const auto& row : rows) {
    expect_row(*tokenizer, row);
    expect_row(*again, row);
    if (row["text"].get<std::string>().find("<|") == std::string::npos) expect_row(*converted, row);
  }
  EXPECT_EQ(tokenizer->id("<|endoftext|>"), GetParam() == "gpt2" ? 50256 : 50257);
  EXPECT_TRUE(tokenizer->is_special(*tokenizer->id("<|endoftext|>")));
}
INSTANTIATE_TEST_SUITE_P(Tiktoken, TiktokenGoldens, testing::Values("gpt2", "multilingual"));

class TiktokenPatterns : public testing::TestWithParam<std::string> {};

TEST_P(TiktokenPatterns, EqualTiktokenOnRandomTexts) {
  WEFT_NEEDS_PYTHON();
  const auto file = whisper("multilingual.tiktoken");
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "needs " << file;
  const weft::test::TempFolder folder;
  const char* seed = std::getenv("WEFT_PARITY_SEED");
  const auto status = weft::test::run_python_file(
      WEFT_TIKTOKEN_REFERENCE,
      {file.string(), GetParam(), seed ? seed : "1", "20000", (folder / "rows.jsonl").string()},
      folder / "log");
  if (status == 77) GTEST_SKIP() << "needs the Python package tiktoken";
  ASSERT_EQ(status, 0);
  const auto pattern = GetParam() == "gpt2"     ? TiktokenPattern::gpt2
                       : GetParam() == "cl100k" ? TiktokenPattern::cl100k
                                                : TiktokenPattern::o200k;
  const auto tokenizer = load_tiktoken(file, pattern);
  const auto rows = weft::test::read_golden(folder / "rows.jsonl");
  EXPECT_EQ(rows.size(), 20000u);
  size_t failed = 0;
  for (const auto& row : rows) {
    expect_row(*tokenizer, row);
    if (HasFailure() && ++failed == 3) return;
  }
}
INSTANTIATE_TEST_SUITE_P(Tiktoken, TiktokenPatterns, testing::Values("gpt2", "cl100k", "o200k"));

TEST(TiktokenFile, NamesWhatIsWrong) {
  const weft::test::TempFolder folder;
  const auto expect_error = [&](const char* name, const std::string& text, const char* what) {
    weft::io::write_file(folder / name, text);
    EXPECT_THAT([&] { load_tokenizer(folder / name); },
                ThrowsMessage<weft::Error>(testing::AllOf(HasSubstr(name), HasSubstr(what))));
  };
  expect_error("mine.tiktoken", "IQ== 0\n", "its name tells no pattern");
  expect_error("gpt2.tiktoken", "IQ== x\n", "line 1: expected base64, a space and a rank");
  expect_error("gpt2.tiktoken", "IQ==\n", "line 1: expected base64");
  expect_error("gpt2.tiktoken", "I?== 0\n", "line 1: not valid base64");
  expect_error("gpt2.tiktoken", "IQ== 0\nIg== 0\n", "the rank 0 stands there twice");
  expect_error("gpt2.tiktoken", "IQ== 0\nIQ== 1\n", "the token of rank 1 has another rank");
  expect_error("gpt2.tiktoken", "IQ== 0\n", "the byte 0x00 has no rank");
}

}  // namespace tiktoken_test
