#include <gmock/gmock.h>

#include <weft/core/error.hpp>
#include <weft/tokenizers/added_tokens.hpp>
#include <weft/tokenizers/bpe_trainer.hpp>

#include "support/temp_folder.hpp"
#include "tokenizers/golden.hpp"

namespace added_tokens_test {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::tokenizers::load_tokenizer;
using weft::tokenizers::with_added_tokens;
using weft::tokenizers::with_end_token;

std::shared_ptr<weft::tokenizers::Tokenizer> trained() {
  return weft::tokenizers::train_byte_level_bpe({"the dog the dog", "the ball"},
                                                {.vocab_size = 262});
}

TEST(AddedTokens, GetTheIdsBehindTheHighest) {
  const auto before = trained();
  const auto size = before->vocab_size();
  const auto after = with_added_tokens(*before, {"<loc1>", "<s>", "the", "<loc2>", "<loc1>"});
  EXPECT_EQ(after->vocab_size(), size + 2);
  EXPECT_EQ(after->id("<loc1>"), size);
  EXPECT_EQ(after->id("<loc2>"), size + 1);
  EXPECT_EQ(after->id("the"), before->id("the"));
  EXPECT_EQ(after->pad_id(), before->pad_id());
  const auto dog = before->encode("the dog", {.add_special_tokens = false}).ids;
  auto expected = dog;
  expected.insert(expected.begin(), size);
  expected.push_back(size + 1);
  const auto ids = after->encode("<loc1>the dog<loc2>", {.add_special_tokens = false}).ids;
  EXPECT_EQ(ids, expected);
  EXPECT_EQ(after->decode(ids), "<loc1>the dog<loc2>");
  EXPECT_FALSE(after->is_special(size));
  EXPECT_TRUE(after->is_special(*after->id("<s>")));
  // The other tokenizer is as it was.
  EXPECT_EQ(before->vocab_size(), size);
  EXPECT_FALSE(before->id("<loc1>"));
}

TEST(AddedTokens, AreSavedAndAddedTo) {
  const weft::test::TempFolder folder;
  const auto once = with_added_tokens(*trained(), {"<a>"}, {.special = true});
  with_added_tokens(*once, {"<b>"})->save(folder / "tokenizer.json");
  const auto again = load_tokenizer(folder / "tokenizer.json");
  const auto size = trained()->vocab_size();
  EXPECT_THAT(again->encode("<b><a>", {.add_special_tokens = false}).ids,
              ElementsAre(size + 1, size));
  EXPECT_EQ(again->decode({size + 1, size}), "<b>");
  EXPECT_EQ(again->decode({size + 1, size}, false), "<b><a>");
}

TEST(EndToken, StandsBehindEveryTextOnceAndPads) {
  const auto bare = weft::tokenizers::train_byte_level_bpe(
      {"the dog the dog", "the ball"},
      {.vocab_size = 262, .special_tokens = {"<end>"}, .bos_token = "", .eos_token = ""});
  EXPECT_THROW(bare->pad_id(), weft::Error);
  const auto end = *bare->id("<end>");
  const auto ended = with_end_token(*bare, end);
  auto expected = bare->encode("the dog").ids;
  const auto plain = expected;
  expected.push_back(end);
  EXPECT_EQ(ended->encode("the dog").ids, expected);
  EXPECT_EQ(ended->encode("the dog", {.add_special_tokens = false}).ids, plain);
  EXPECT_THAT(ended->encode("").ids, ElementsAre(end));
  EXPECT_EQ(ended->encode("the dog the ball", {.max_length = 2}).ids.back(), end);
  EXPECT_EQ(ended->encode("the dog the ball", {.max_length = 2}).ids.size(), 2u);
  EXPECT_EQ(ended->pad_id(), end);
  const auto batch = ended->encode_ids_batch({"the dog the ball", ""});
  EXPECT_EQ(batch.ids.back(), end);
  EXPECT_EQ(batch.mask.back(), 0);
  EXPECT_EQ(with_end_token(*ended, end)->encode("the dog").ids, expected);

  const weft::test::TempFolder folder;
  ended->save(folder / "tokenizer.json");
  const auto again = load_tokenizer(folder / "tokenizer.json");
  EXPECT_EQ(again->encode("the dog").ids, expected);
  EXPECT_EQ(again->pad_id(), end);
  EXPECT_THAT([&] { with_end_token(*bare, 5000); },
              ThrowsMessage<weft::Error>(HasSubstr("no token has the id 5000")));
}

TEST(EndToken, KeepsTheOtherSpecialTokens) {
  const auto before = trained();
  const auto ids = before->encode("the dog").ids;
  EXPECT_EQ(with_end_token(*before, *before->id("</s>"))->encode("the dog").ids, ids);
  const auto other = with_end_token(*before, *before->id("<pad>"));
  auto expected = ids;
  expected.push_back(*before->id("<pad>"));
  EXPECT_EQ(other->encode("the dog").ids, expected);
  EXPECT_EQ(other->pad_id(), before->pad_id());
}

TEST(AddedTokens, AreRefusedWhereATokenizerJsonIsNotAtWork) {
  EXPECT_THAT([] { with_added_tokens(*trained(), {""}); },
              ThrowsMessage<weft::Error>(HasSubstr("must not be empty")));
  const auto clip = weft::test::shared_tokenizers() / "clip/bpe_simple_vocab_16e6.txt.gz";
  if (!std::filesystem::exists(clip)) GTEST_SKIP() << "needs " << clip;
  const auto tokenizer = load_tokenizer(clip);
  EXPECT_THAT([&] { with_added_tokens(*tokenizer, {"<a>"}); },
              ThrowsMessage<weft::Error>(HasSubstr("no tokenizer.json at work")));
  EXPECT_THAT([&] { with_end_token(*tokenizer, 0); },
              ThrowsMessage<weft::Error>(HasSubstr("no tokenizer.json at work")));
}

}  // namespace added_tokens_test
