#include <atomic>
#include <fstream>
#include <map>
#include <set>

#include <fmt/format.h>

#include <ATen/ATen.h>

#include <weft/data/conversation_loader.hpp>
#include <weft/data/sample.hpp>
#include <weft/tokenizers/conversation.hpp>

#include "data/byte_tokenizer.hpp"
#include "support/gmock.hpp"

namespace conversation_loader_test {

using namespace weft::test;
using weft::Json;
using weft::data::BadCause;
using weft::data::ConversationBatch;
using weft::data::ConversationLoader;
using weft::data::ConversationLoaderOptions;
using weft::data::VisualInput;

constexpr int64_t kImage = -200;

/// Conversations c0, c1 ... of growing length about images of their own.
struct Talks {
  explicit Talks(int64_t count, int64_t without_mark = -1) {
    auto list = Json::array();
    for (int64_t i = 0; i < count; ++i) {
      std::string words = "Say";
      for (int64_t k = 0; k < i % 13; ++k) words += " word";
      list.push_back(Json::object(
          {{"id", "c" + std::to_string(i)},
           {"image", std::to_string(i) + ".png"},
           {"conversations",
            std::vector<Json>{
                Json::object(
                    {{"from", "human"}, {"value", (i == without_mark ? "" : "<image>\n") + words}}),
                Json::object({{"from", "gpt"}, {"value", "Answer " + std::to_string(i)}})}}}));
    }
    list.write(folder / "a.json");
    source = std::make_shared<weft::data::ConversationSource>(
        weft::data::ConversationSourceOptions{.data = folder / "a.json"});
    encoder = std::make_shared<weft::data::ConversationEncoder>(
        byte_tokenizer(), weft::tokenizers::conversation_template("chatml", "/nowhere"),
        weft::data::ConversationEncoderOptions{.image_token = kImage});
  }

  /// Image i is 2 + i % 2 tokens of pixels i.
  ConversationLoader loader(const ConversationLoaderOptions& options) const {
    return {source, encoder,
            [](int64_t image) {
              return VisualInput{.pixels = at::full({1, 3, 2, 2}, image % 256, at::kByte),
                                 .tokens = 2 + image % 2};
            },
            options};
  }

  TempFolder folder;
  std::shared_ptr<weft::data::ConversationSource> source;
  std::shared_ptr<weft::data::ConversationEncoder> encoder;
};

std::vector<std::string> keys_of(ConversationLoader& loader) {
  std::vector<std::string> out;
  while (const auto batch = loader.next())
    out.insert(out.end(), batch->keys.begin(), batch->keys.end());
  return out;
}

bool equal(const ConversationBatch& a, const ConversationBatch& b) {
  return at::equal(a.text.ids, b.text.ids) && at::equal(a.targets, b.targets) &&
         at::equal(a.images.data, b.images.data) && a.keys == b.keys;
}

TEST(ConversationLoader, BatchesHoldWhatTheEncoderGives) {
  const Talks talks(7);
  auto loader = talks.loader({.batch_size = 3, .shuffle = false, .drop_last = false});
  EXPECT_EQ(loader.batches(), 3);
  int64_t number = 0;
  while (const auto batch = loader.next()) {
    const auto B = batch->text.ids.size(0);
    EXPECT_EQ(batch->last, number + B == 7);
    EXPECT_EQ(batch->images.data.size(0), B);
    for (int64_t b = 0; b < B; ++b, ++number) {
      const auto row = talks.encoder->encode(talks.source->read(number), {2 + number % 2});
      const auto length = static_cast<int64_t>(row.ids.size());
      EXPECT_EQ(batch->text.mask[b].sum().item<int64_t>(), length);
      EXPECT_TRUE(at::equal(batch->text.ids[b].narrow(0, 0, length), at::tensor(row.ids)));
      EXPECT_TRUE(at::equal(batch->targets[b].narrow(0, 0, length), at::tensor(row.targets)));
      EXPECT_TRUE((batch->targets[b].narrow(0, length, batch->targets.size(1) - length) == -100)
                      .all()
                      .item<bool>());
      EXPECT_EQ(batch->images.data[b][0][0][0].item<int64_t>(), number);
    }
  }
  EXPECT_EQ(number, 7);
}

TEST(ConversationLoader, WorkersChangeNothingAndEpochsTheOrder) {
  const Talks talks(23);
  for (const bool grouped : {false, true}) {
    auto a = talks.loader({.batch_size = 4, .workers = 0, .epochs = 2, .group_by_length = grouped});
    auto b = talks.loader(
        {.batch_size = 4, .workers = 3, .prefetch = 5, .epochs = 2, .group_by_length = grouped});
    std::vector<std::string> first, second;
    while (const auto one = a.next()) {
      const auto other = b.next();
      ASSERT_TRUE(other && equal(*one, *other));
      auto& keys = one->epoch == 0 ? first : second;
      keys.insert(keys.end(), one->keys.begin(), one->keys.end());
    }
    EXPECT_FALSE(b.next());
    EXPECT_EQ(first.size(), 20u);
    EXPECT_EQ(std::set(first.begin(), first.end()).size(), 20u);
    EXPECT_NE(first, second);
  }
}

TEST(ConversationLoader, GroupedBatchesWasteLess) {
  const Talks talks(104);
  const auto padding = [&](bool grouped) {
    auto loader = talks.loader({.batch_size = 8, .group_by_length = grouped});
    int64_t out = 0;
    while (const auto batch = loader.next())
      out += batch->text.mask.numel() - batch->text.mask.sum().item<int64_t>();
    return out;
  };
  EXPECT_LT(3 * padding(true), padding(false));
}

TEST(ConversationLoader, PackedRowsHoldEveryConversationOnce) {
  const Talks talks(40);
  constexpr int64_t kRoom = 300;
  auto loader = talks.loader({.batch_size = 2, .drop_last = false, .pack_length = kRoom});
  EXPECT_LT(loader.rows(), 25);
  std::multiset<std::string> seen;
  while (const auto batch = loader.next()) {
    seen.insert(batch->keys.begin(), batch->keys.end());
    EXPECT_LE(batch->text.ids.size(1), kRoom);
    ASSERT_TRUE(batch->text.segments.defined());
    // Each segment is one conversation, whose last token predicts nothing.
    size_t conversation = 0, image = 0;
    for (int64_t b = 0; b < batch->text.ids.size(0); ++b)
      for (int64_t s = 0;; ++s) {
        const auto at = (batch->text.segments[b] == s).nonzero().flatten();
        if (at.numel() == 0) break;
        const auto number = std::stoll(batch->keys[conversation++].substr(1));
        const auto row = talks.encoder->encode(talks.source->read(number), {2 + number % 2});
        EXPECT_TRUE(at::equal(batch->text.ids[b].index_select(0, at), at::tensor(row.ids)));
        EXPECT_TRUE(at::equal(batch->targets[b].index_select(0, at), at::tensor(row.targets)));
        EXPECT_EQ(batch->numbers[image++], number);
      }
  }
  EXPECT_EQ(seen.size(), 40u);
  EXPECT_EQ(std::set(seen.begin(), seen.end()).size(), 40u);
}

// What all images take is known: none is opened before the first batch, and the batches are those
// that opening all would give.
TEST(ConversationLoader, LengthsNeedNoImagesWhereAllAreAlike) {
  const Talks talks(24);
  std::atomic<int> opened = 0;
  const auto read = [&](int64_t image) {
    ++opened;
    return VisualInput{.pixels = at::full({1, 3, 2, 2}, image, at::kByte), .tokens = 3};
  };
  for (const int64_t pack : {0, 200}) {
    ConversationLoaderOptions options{
        .batch_size = 2, .group_by_length = pack == 0, .pack_length = pack};
    opened = 0;
    ConversationLoader all(talks.source, talks.encoder, read, options);
    EXPECT_EQ(opened.load(), 24);
    options.image_tokens = 3;
    opened = 0;
    ConversationLoader none(talks.source, talks.encoder, read, options);
    EXPECT_EQ(opened.load(), 0);
    while (const auto batch = all.next()) {
      const auto other = none.next();
      ASSERT_TRUE(other && equal(*batch, *other));
    }
    EXPECT_FALSE(none.next());
    options.image_tokens = 5;
    ConversationLoader wrong(talks.source, talks.encoder, read, options);
    EXPECT_THAT([&] { wrong.next(); },
                ThrowsMessage<weft::Error>(HasSubstr("takes 3 visual tokens, but image_tokens says "
                                                     "that all take 5")));
  }
}

TEST(ConversationLoader, GoesOnWhereItStood) {
  const Talks talks(23);
  for (const int64_t pack : {0, 300}) {
    const ConversationLoaderOptions options{
        .batch_size = 2, .workers = 2, .epochs = 2, .pack_length = pack};
    auto whole = talks.loader(options), first = talks.loader(options);
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(equal(*whole.next(), *first.next()));
    auto again = talks.loader(options);
    again.restore(first.state());
    while (const auto batch = whole.next()) {
      const auto other = again.next();
      ASSERT_TRUE(other && equal(*batch, *other));
      EXPECT_EQ(batch->epoch, other->epoch);
    }
    EXPECT_FALSE(again.next());
    auto changed = talks.loader({.batch_size = 3, .pack_length = pack});
    EXPECT_THAT([&] { changed.restore(first.state()); },
                ThrowsMessage<weft::Error>(HasSubstr("global_batch = 2, but this run has 3")));
  }
}

// Rows are packed and grouped by lengths: with others, as of other images, the place is another.
TEST(ConversationLoader, GoesOnWithTheSameLengthsAlone) {
  const Talks talks(24);
  const auto read = [](int64_t) {
    return VisualInput{.pixels = at::full({1, 3, 2, 2}, 0, at::kByte), .tokens = 3};
  };
  for (const bool grouped : {false, true}) {
    const ConversationLoaderOptions options{.batch_size = 2, .group_by_length = grouped};
    auto first = talks.loader(options);
    ASSERT_TRUE(first.next());
    ConversationLoader other(talks.source, talks.encoder, read, options);
    if (grouped) {
      EXPECT_THAT([&] { other.restore(first.state()); },
                  ThrowsMessage<weft::Error>(HasSubstr("was saved with lengths = ")));
    } else {
      other.restore(first.state());
      EXPECT_EQ(other.next()->keys, first.next()->keys);
    }
  }
}

TEST(ConversationLoader, RanksShareEachStep) {
  const Talks talks(20);
  auto one = talks.loader({.batch_size = 4});
  auto a = talks.loader({.batch_size = 2, .rank = 0, .world = 2});
  auto b = talks.loader({.batch_size = 2, .rank = 1, .world = 2});
  while (const auto batch = one.next()) {
    auto keys = a.next()->keys;
    const auto rest = b.next()->keys;
    keys.insert(keys.end(), rest.begin(), rest.end());
    EXPECT_EQ(batch->keys, keys);
  }
}

TEST(ConversationLoader, CountsDamageAndStopsAtTooMuch) {
  const Talks talks(24, 5);
  auto loader = talks.loader({.batch_size = 4, .drop_last = false});
  EXPECT_EQ(keys_of(loader).size(), 23u);
  EXPECT_EQ(loader.bad().count(BadCause::image_count), 1);
  EXPECT_THAT(loader.bad().summary(), HasSubstr("conversation 'c5'"));
  auto strict = talks.loader({.batch_size = 4, .max_bad_fraction = 0});
  EXPECT_THAT([&] { keys_of(strict); },
              ThrowsMessage<weft::Error>(HasSubstr("1 of 24 conversations are damaged")));
  EXPECT_THAT([&] { talks.loader({.batch_size = 25}); },
              ThrowsMessage<weft::Error>(HasSubstr("fewer than one step of 25")));
}

// A pass that gives nothing would be followed by another one, without end.
TEST(ConversationLoader, StopsWhereNothingIsLeft) {
  const Talks talks(6);
  const auto broken = [](int64_t image) -> VisualInput {
    throw weft::data::BadSample(BadCause::missing_image, fmt::format("image {} is lost", image));
  };
  ConversationLoader loader(talks.source, talks.encoder, broken,
                            {.batch_size = 2, .epochs = 0, .max_bad_fraction = 1});
  EXPECT_THAT([&] { loader.next(); },
              ThrowsMessage<weft::Error>(HasSubstr("a whole pass gave no conversation")));
  // Samples that are only looked at count too.
  ConversationLoader strict(talks.source, talks.encoder, broken, {.batch_size = 2});
  EXPECT_THAT([&] { strict.peek(1); },
              ThrowsMessage<weft::Error>(HasSubstr("1 of 6 conversations are damaged")));
  ConversationLoader lenient(talks.source, talks.encoder, broken,
                             {.batch_size = 2, .max_bad_fraction = 1});
  EXPECT_TRUE(lenient.peek(1).empty());
  EXPECT_EQ(lenient.bad().count(BadCause::missing_image), 6);
}

TEST(ConversationLoader, PreferencesAreTwoRows) {
  const Talks talks(2);
  std::ofstream(talks.folder / "p.json")
      << R"([{"id": "p", "image": "a.png", "conversations": [{"from": "human",
             "value": "<image>Q"}], "chosen": "good", "rejected": "worse than that"}])";
  const auto source = std::make_shared<weft::data::ConversationSource>(
      weft::data::ConversationSourceOptions{.data = talks.folder / "p.json"});
  ConversationLoader loader(source, talks.encoder, [](int64_t) { return VisualInput{.tokens = 2}; },
                            {.batch_size = 1, .preferences = true});
  const auto batch = loader.next();
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->text.ids.size(0), 2);
  EXPECT_EQ(batch->samples, 1);
  EXPECT_THAT(batch->numbers, ElementsAre(0, 0));
  const auto read = [&](int64_t row) {
    std::vector<int64_t> ids;
    for (int64_t i = 0; i < batch->targets.size(1); ++i)
      if (const auto id = batch->targets[row][i].item<int64_t>(); id != -100) ids.push_back(id);
    return talks.encoder->tokenizer().decode(ids, false);
  };
  EXPECT_EQ(read(0), "good<|im_end|>");
  EXPECT_EQ(read(1), "worse than that<|im_end|>");

  const auto shared = std::make_shared<weft::data::ConversationEncoder>(
      byte_tokenizer(), weft::tokenizers::conversation_template("chatml", "/nowhere"),
      weft::data::ConversationEncoderOptions{.image_token = kImage,
                                             .turns = weft::data::Turns::shared});
  EXPECT_THAT(
      [&] {
        ConversationLoader(source, shared, [](int64_t) { return VisualInput{.tokens = 2}; },
                           {.batch_size = 1, .preferences = true});
      },
      ThrowsMessage<weft::Error>(HasSubstr("preferences: a row is one answer")));
}

}  // namespace conversation_loader_test
