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

TEST(AddedTokens, AreRefusedWhereATokenizerJsonIsNotAtWork) {
  EXPECT_THAT([] { with_added_tokens(*trained(), {""}); },
              ThrowsMessage<weft::Error>(HasSubstr("must not be empty")));
  const auto clip = weft::test::shared_tokenizers() / "clip/bpe_simple_vocab_16e6.txt.gz";
  if (!std::filesystem::exists(clip)) GTEST_SKIP() << "needs " << clip;
  const auto tokenizer = load_tokenizer(clip);
  EXPECT_THAT([&] { with_added_tokens(*tokenizer, {"<a>"}); },
              ThrowsMessage<weft::Error>(HasSubstr("no tokenizer.json at work")));
}

}  // namespace added_tokens_test
