#include <gmock/gmock.h>

#include <weft/core/error.hpp>
#include <weft/tokenizers/tokenizer.hpp>

#include "tokenizers/golden.hpp"

namespace byte_level_test {

using weft::tokenizers::load_tokenizer;

class Goldens : public testing::TestWithParam<std::string> {};

TEST_P(Goldens, AreEqual) {
  const auto folder = weft::test::shared_tokenizers() / GetParam();
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "needs " << folder;
  const auto tokenizer = load_tokenizer(folder);
  const auto rows = weft::test::read_golden(folder / "golden_tokenizer_json.jsonl");
  ASSERT_EQ(rows.size(), 86u);
  for (const auto& row : rows) weft::test::expect_golden(*tokenizer, row);
}

INSTANTIATE_TEST_SUITE_P(ByteLevel, Goldens,
                         testing::Values("phi-2", "whisper", "phi-3-mini", "t5"));

}  // namespace byte_level_test
