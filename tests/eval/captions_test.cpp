#include <c10/util/Exception.h>

#include <weft/eval/captions.hpp>

#include "eval/vlm_references.hpp"
#include "support/shared_data.hpp"

namespace caption_scores_test {

using namespace weft::test;
using weft::Json;
using weft::eval::caption_scores;
using weft::eval::caption_words;

TEST(CaptionWords, FollowTheTreebanksRules) {
  EXPECT_THAT(
      caption_words("A man's dog doesn't run, it (3.5 kg) sleeps."),
      ElementsAre("a", "man", "'s", "dog", "does", "n't", "run", "it", "3.5", "kg", "sleeps"));
  EXPECT_THAT(caption_words("T-shirts -- red & blue \u2014 cannot cost $1,000..."),
              ElementsAre("t-shirts", "red", "&", "blue", "can", "not", "cost", "$", "1,000"));
  EXPECT_THAT(caption_words("do n't 's"), ElementsAre("do", "n't", "'s"));
  EXPECT_THAT(caption_words(" .,"), ElementsAre());
}

TEST(CaptionScores, EqualTheWrittenOutDefinitions) {
  WEFT_NEEDS_PYTHON();
  std::vector<std::string> shards;
  const auto shard = shared_file("data/flickr8k-128/val-000000.tar");
  if (std::filesystem::exists(shard)) shards.push_back(shard.string());
  const auto given = vlm_reference("captions", shards);
  ASSERT_TRUE(given.is_object());
  const auto words = given.at("words");
  for (size_t i = 0; i < words.size(); ++i) {
    const auto text = words.at(i).at(size_t{0}).as_string();
    ASSERT_EQ(caption_words(text), words.at(i).at(size_t{1}).as_strings()) << '"' << text << '"';
  }
  const auto cases = given.at("cases");
  ASSERT_EQ(cases.size(), shards.empty() ? 6u : 9u);
  for (size_t c = 0; c < cases.size(); ++c) {
    SCOPED_TRACE(c);
    const auto row = cases.at(c);
    std::vector<std::vector<std::string>> references;
    const auto lists = row.at("references");
    for (size_t i = 0; i < lists.size(); ++i) references.push_back(lists.at(i).as_strings());
    const auto scores = caption_scores(row.at("captions").as_strings(), references,
                                       {.tokenize = row.at("tokenize").as_bool()});
    const auto bleu = row.at("bleu").as_doubles();
    for (size_t n = 0; n < 4; ++n) EXPECT_NEAR(scores.bleu[n], bleu[n], 1e-12);
    const auto rouge = row.at("rouge_l").as_doubles(), cider = row.at("cider").as_doubles();
    ASSERT_EQ(scores.sample_cider.size(), cider.size());
    double rouge_sum = 0, cider_sum = 0;
    for (size_t i = 0; i < cider.size(); ++i) {
      EXPECT_NEAR(scores.sample_rouge_l[i], rouge[i], 1e-12);
      EXPECT_NEAR(scores.sample_cider[i], cider[i], 1e-10);
      rouge_sum += rouge[i], cider_sum += cider[i];
    }
    EXPECT_NEAR(scores.rouge_l, rouge_sum / static_cast<double>(rouge.size()), 1e-12);
    EXPECT_NEAR(scores.cider, cider_sum / static_cast<double>(cider.size()), 1e-10);
  }
}

TEST(CaptionScores, OfTheReferencesThemselvesAreTheHighest) {
  const std::vector<std::string> captions = {"A dog runs over the green lawn.",
                                             "Two children play with a red ball."};
  const auto scores = caption_scores(captions, {{captions[0]}, {captions[1]}});
  for (const auto bleu : scores.bleu) EXPECT_NEAR(bleu, 1, 1e-6);
  EXPECT_NEAR(scores.rouge_l, 1, 1e-12);
  EXPECT_NEAR(scores.cider, 10, 1e-12);
  EXPECT_EQ(scores.json().keys(), (std::vector<std::string>{"bleu1", "bleu2", "bleu3", "bleu4",
                                                            "rouge_l", "cider", "samples"}));
}

TEST(CaptionScores, NameWhatIsWrong) {
  EXPECT_THAT([] { caption_scores({"a"}, {}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("got 1 captions and 0 lists")));
  EXPECT_THAT(
      [] {
        caption_scores({"a", "b"}, {{"a"}, {}});
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("image 1 has no reference")));
}

}  // namespace caption_scores_test
