#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <weft/tokenizers/tokenizer.hpp>

#include "support/python.hpp"
#include "support/temp_folder.hpp"
#include "tokenizers/golden.hpp"

namespace components_test {

using weft::tokenizers::load_tokenizer;

/// Random texts and, for components with a view of their own on characters, every code point
/// between others, through one component of a tokenizer.json: ids and spans equal those of Hugging
/// Face's `tokenizers`.
void expect_equal(const char* mode, const std::string& kind) {
  WEFT_NEEDS_PYTHON();
  const weft::test::TempFolder folder;
  const auto file = folder / "tokenizer.json", out = folder / "rows.jsonl";
  ASSERT_EQ(weft::test::run_python_file(WEFT_HF_REFERENCE,
                                        {mode, kind, file.string(), out.string()}, folder / "log"),
            0);
  const auto tokenizer = load_tokenizer(file);
  size_t rows = 0, failed = 0;
  std::ifstream in(out);
  for (std::string line; std::getline(in, line); ++rows) {
    const auto row = nlohmann::json::parse(line);
    const auto text = row[0].get<std::string>();
    const auto encoding = tokenizer->encode(text, {.add_special_tokens = false});
    std::vector<std::vector<int64_t>> spans;
    for (const auto& span : encoding.offsets) spans.push_back({span.begin, span.end});
    std::vector<int64_t> lean;
    tokenizer->encode_ids(text, {.add_special_tokens = false}, lean);
    EXPECT_EQ(lean, encoding.ids) << text;
    EXPECT_EQ(encoding.ids, row[1].get<std::vector<int64_t>>()) << text;
    EXPECT_EQ(spans, row[2].get<std::vector<std::vector<int64_t>>>()) << text;
    if (testing::Test::HasFailure() && ++failed == 3) return;
  }
  EXPECT_GE(rows, 5000u);
}

struct PreTokenizers : testing::TestWithParam<std::string> {};

TEST_P(PreTokenizers, SplitAsHuggingFaceDoes) { expect_equal("pieces", GetParam()); }

const auto name = [](const auto& info) {
  auto name = info.param;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
};

INSTANTIATE_TEST_SUITE_P(
    Tokenizers, PreTokenizers,
    testing::Values("llama3", "qwen2", "cl100k", "o200k", "tekken", "gpt2", "removed-o200k",
                    "deepseek", "spaces", "letters", "empty", "string-Removed", "string-Isolated",
                    "string-MergedWithPrevious", "string-MergedWithNext", "string-Contiguous",
                    "regex-Removed", "regex-MergedWithPrevious", "regex-MergedWithNext",
                    "regex-Contiguous", "inverted-Removed", "inverted-Isolated",
                    "inverted-MergedWithPrevious", "inverted-MergedWithNext", "inverted-Contiguous",
                    "whitespace", "words", "punctuation-Isolated", "punctuation-MergedWithNext",
                    "digits-each", "digits-runs", "delimiter", "metaspace-always",
                    "metaspace-first", "metaspace-never", "marks-first", "t5", "chain"),
    name);

struct Normalizers : testing::TestWithParam<std::string> {};

TEST_P(Normalizers, RewriteAsHuggingFaceDoes) {
  auto kind = GetParam();
  if (kind == "rules") {
    const auto file = weft::test::shared_tokenizers() / "t5/tokenizer.json";
    if (!std::filesystem::exists(file)) GTEST_SKIP() << "needs " << file;
    kind += '-' + file.string();
  }
  expect_equal("form", kind);
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, Normalizers,
                         testing::Values("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents",
                                         "accents", "Nmt", "strip", "strip-left", "strip-right",
                                         "prepend", "string", "regex-", "regex-xy", "rules"),
                         name);

}  // namespace components_test
