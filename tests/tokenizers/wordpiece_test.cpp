#include <gmock/gmock.h>

#include <weft/core/error.hpp>
#include <weft/tokenizers/tokenizer.hpp>

#include "tokenizers/golden.hpp"

namespace wordpiece_test {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::tokenizers::EncodeOptions;
using weft::tokenizers::load_tokenizer;
using weft::tokenizers::Padding;
using weft::tokenizers::Side;

struct WordPiece : testing::Test {
  void SetUp() override {
    folder = weft::test::shared_tokenizers() / "minilm";
    if (!std::filesystem::exists(folder)) GTEST_SKIP() << "needs " << folder;
    tokenizer = load_tokenizer(folder);
  }
  std::filesystem::path folder;
  std::shared_ptr<weft::tokenizers::Tokenizer> tokenizer;
};

TEST_F(WordPiece, EqualsEveryGolden) {
  const auto rows = weft::test::read_golden(folder / "golden_tokenizer_json.jsonl");
  ASSERT_EQ(rows.size(), 86u);
  for (const auto& row : rows) weft::test::expect_golden(*tokenizer, row);
}

TEST_F(WordPiece, EqualsEveryGoldenFromABareVocabulary) {
  const auto bare = load_tokenizer(folder / "vocab.txt");
  for (const auto& row : weft::test::read_golden(folder / "golden_tokenizer_json.jsonl"))
    weft::test::expect_golden(*bare, row);
  EXPECT_EQ(bare->vocab_size(), 30522);
}

TEST_F(WordPiece, KnowsItsVocabulary) {
  EXPECT_EQ(tokenizer->vocab_size(), 30522);
  EXPECT_EQ(tokenizer->pad_id(), 0);
  EXPECT_EQ(tokenizer->id("[CLS]"), 101);
  EXPECT_EQ(tokenizer->token(2048), "two");
  EXPECT_EQ(tokenizer->id("no such token"), std::nullopt);
  EXPECT_TRUE(tokenizer->is_special(102));
  EXPECT_THAT([&] { tokenizer->token(30522); }, ThrowsMessage<weft::Error>(HasSubstr("30522")));
}

TEST_F(WordPiece, TruncatesTheTextAndKeepsTheSpecialTokens) {
  const auto text = "two dogs run in the grass";
  EXPECT_THAT(tokenizer->encode(text, {.max_length = 4}).ids, ElementsAre(101, 2048, 6077, 102));
  EXPECT_THAT(tokenizer->encode(text, {.max_length = 4, .truncation_side = Side::left}).ids,
              ElementsAre(101, 1996, 5568, 102));
  EXPECT_THAT(tokenizer->encode(text, {.max_length = 2}).ids, ElementsAre(101, 102));
  EXPECT_THAT([&] { tokenizer->encode(text, {.max_length = 1}); },
              ThrowsMessage<weft::Error>(HasSubstr("leaves no room for the 2 special tokens")));
  for (const auto side : {Side::right, Side::left}) {
    for (int64_t length = 2; length < 12; ++length) {
      for (const auto padding : {Padding::none, Padding::max_length}) {
        const EncodeOptions options{.max_length = length,
                                    .padding = padding,
                                    .padding_side = side,
                                    .truncation_side = side};
        std::vector<int64_t> ids;
        tokenizer->encode_ids(text, options, ids);
        EXPECT_EQ(ids, tokenizer->encode(text, options).ids) << length;
      }
    }
  }
}

TEST_F(WordPiece, PadsBatches) {
  const std::vector<std::string> texts = {"two dogs", "a", ""};
  for (const int threads : {1, 3}) {
    const auto batch = tokenizer->encode_batch(texts, {.padding = Padding::longest}, threads);
    EXPECT_THAT(batch[0].ids, ElementsAre(101, 2048, 6077, 102));
    EXPECT_THAT(batch[1].ids, ElementsAre(101, 1037, 102, 0));
    EXPECT_THAT(batch[2].mask, ElementsAre(1, 1, 0, 0));
    EXPECT_THAT(batch[2].tokens, ElementsAre("[CLS]", "[SEP]", "[PAD]", "[PAD]"));
    const auto matrix = tokenizer->encode_ids_batch(texts, {.padding_side = Side::left}, threads);
    EXPECT_EQ(matrix.columns, 4);
    EXPECT_THAT(matrix.ids, ElementsAre(101, 2048, 6077, 102, 0, 101, 1037, 102, 0, 0, 101, 102));
    EXPECT_THAT(matrix.mask, ElementsAre(1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1, 1));
  }
  const auto wide =
      tokenizer->encode_ids_batch({"a"}, {.max_length = 5, .padding = Padding::max_length});
  EXPECT_THAT(wide.ids, ElementsAre(101, 1037, 102, 0, 0));
  EXPECT_EQ(tokenizer->encode_ids_batch({}).rows, 0);
}

TEST_F(WordPiece, ReadsInvalidUtf8AsReplacementCharacters) {
  for (const std::string text : {"two \xff dogs", "two \xe2\x82", "\xc0\x80two", "a\xed\xa0\x80"}) {
    EXPECT_NO_THROW(tokenizer->encode(text)) << text.size();
  }
  EXPECT_EQ(tokenizer->encode("two \xff dogs").ids, tokenizer->encode("two \xEF\xBF\xBD dogs").ids);
  EXPECT_EQ(tokenizer->encode("a\xe2\x82 b").offsets.size(), 4u);
}

TEST_F(WordPiece, RefusesHugeTexts) {
  EXPECT_THAT([&] { tokenizer->encode(std::string(10'000'001, 'a')); },
              ThrowsMessage<weft::Error>(HasSubstr("limit of 10000000")));
}

TEST_F(WordPiece, SavesWhatItLoads) {
  const auto path = std::filesystem::temp_directory_path() / "weft_wordpiece_test.json";
  tokenizer->save(path);
  const auto again = load_tokenizer(path);
  std::filesystem::remove(path);
  for (const auto& row : weft::test::read_golden(folder / "golden_tokenizer_json.jsonl"))
    weft::test::expect_golden(*again, row);
}

}  // namespace wordpiece_test
