#include <set>

#include <weft/data/stream.hpp>

#include "data/test_shards.hpp"
#include "support/gmock.hpp"

namespace stream_test {

using namespace weft::test;
using weft::data::BadCause;
using weft::data::SampleStream;

static std::vector<std::string> keys_of(SampleStream& stream, int64_t most = 1'000'000) {
  std::vector<std::string> out;
  while (static_cast<int64_t>(out.size()) < most) {
    const auto sample = stream.next();
    if (!sample) break;
    out.push_back(sample->key);
  }
  return out;
}

TEST(SampleStream, GivesTheSamplesInOrder) {
  const TempFolder folder;
  SampleStream stream({.shards = write_shards(folder, {3, 1, 4})});
  EXPECT_EQ(stream.size(), 8);
  for (int64_t i = 0; i < 8; ++i) {
    const auto sample = stream.next();
    ASSERT_TRUE(sample);
    EXPECT_EQ(sample->key, sample_of(i).key);
    EXPECT_EQ(sample->fields, sample_of(i).fields);
    EXPECT_THAT(sample->shard, HasSubstr(i < 3 ? "s-0.tar" : i < 4 ? "s-1.tar" : "s-2.tar"));
  }
  EXPECT_FALSE(stream.next());
  EXPECT_EQ(stream.bad().total(), 0);
}

TEST(SampleStream, ShufflesByEpochAndSeed) {
  const TempFolder folder;
  const auto pattern = write_shards(folder, {30, 7, 50, 13});
  for (const int64_t buffer : {1, 8, 1000}) {
    SampleStream a({.shards = pattern, .shuffle = true, .shuffle_buffer = buffer, .epochs = 2});
    SampleStream b({.shards = pattern, .shuffle = true, .shuffle_buffer = buffer, .seed = 1});
    const auto first = keys_of(a, 100), second = keys_of(a, 100), other = keys_of(b);
    EXPECT_FALSE(a.next());
    EXPECT_EQ(std::set(first.begin(), first.end()).size(), 100);
    EXPECT_THAT(second, testing::UnorderedElementsAreArray(first));
    EXPECT_THAT(other, testing::UnorderedElementsAreArray(first));
    EXPECT_NE(first, second);
    EXPECT_NE(first, other);
  }
}

TEST(SampleStream, GoesOnFromAnyPosition) {
  const TempFolder folder;
  const auto pattern = write_shards(folder, {30, 7, 50, 13});
  const weft::data::SampleStreamOptions options{
      .shards = pattern, .shuffle = true, .shuffle_buffer = 16, .seed = 5, .epochs = 3};
  SampleStream whole(options);
  const auto all = keys_of(whole);
  for (const int64_t position : {0, 1, 57, 99, 100, 101, 250, 299, 300}) {
    SampleStream before(options), after(options);
    keys_of(before, position);
    after.restore(weft::Json::parse(before.state().dump()));
    EXPECT_EQ(keys_of(after), std::vector(all.begin() + position, all.end())) << position;
  }
  SampleStream other({.shards = pattern, .shuffle = true, .shuffle_buffer = 16, .seed = 6});
  EXPECT_THAT([&] { other.restore(whole.state()); },
              ThrowsMessage<weft::Error>(HasSubstr("was saved with seed = 5, but this run has 6")));
}

TEST(SampleStream, GroupsMembersAsWebDatasetDoes) {
  const TempFolder folder;
  {
    weft::io::TarWriter writer(folder / "a.tar");
    const auto png = sample_of(1).fields.at("png");
    writer.add("__meta__.json", "{}");
    writer.add("train/x.y/0001.PNG", png);
    writer.add("train/x.y/0001.seg.png", "mask");
    writer.add("train/x.y/0001.txt", "one");
    writer.add("README", "no extension");
    writer.add("train/x.y/0002.txt", "two");
    writer.add("train/x.y/0002.jpg", png);
    writer.close();
  }
  SampleStream stream({.shards = folder / "a.tar"});
  ASSERT_EQ(stream.size(), 2);
  const auto first = *stream.next(), second = *stream.next();
  EXPECT_EQ(first.key, "train/x.y/0001");
  EXPECT_EQ(first.fields.size(), 3);
  EXPECT_EQ(first.fields.at("seg.png"), "mask");
  EXPECT_EQ(second.key, "train/x.y/0002");
  EXPECT_EQ(second.fields.at("txt"), "two");
}

TEST(SampleStream, CountsDamageByCauseAndShard) {
  const TempFolder folder;
  const auto pattern = write_shards(folder, {40, 40, 40, 40});
  auto no_image = sample_of(41), no_caption = sample_of(42);
  no_image.fields.erase("png");
  no_caption.fields.erase("txt");
  std::vector<weft::test::TestSample> second;
  for (int64_t i = 40; i < 80; ++i)
    second.push_back(i == 41 ? no_image : i == 42 ? no_caption : sample_of(i));
  write_shard(folder / "s-1.tar", second);
  weft::test::cut_file(folder / "s-2.tar", 0.5);
  std::filesystem::remove(folder / "s-3.tar");

  SampleStream stream({.shards = pattern});
  const auto& bad = stream.bad();
  EXPECT_EQ(bad.total(), 4);
  for (const auto cause : {BadCause::missing_image, BadCause::missing_caption, BadCause::cut_shard,
                           BadCause::missing_shard})
    EXPECT_EQ(bad.count(cause), 1);
  EXPECT_EQ(bad.count(folder / "s-1.tar"), 2);
  EXPECT_GE(stream.size(), 40 + 38 + 15);
  EXPECT_LE(stream.size(), 40 + 38 + 25);
  EXPECT_EQ(static_cast<int64_t>(keys_of(stream).size()), stream.size());
  EXPECT_THAT(bad.summary(), AllOf(HasSubstr("cut_shard 1"), HasSubstr("s-1.tar (missing_image 1, "
                                                                       "missing_caption 1)")));
  EXPECT_EQ(bad.json().at("by_cause").at("missing_image").as_int(), 1);
}

TEST(SampleStream, CutAnywhereLosesOnlyWhatFollows) {
  const TempFolder folder;
  const auto pattern = write_shards(folder, {5});
  int64_t most = 0;
  constexpr uintmax_t kSampleBytes = 2048;  // two members of 512 bytes and their headers
  for (uintmax_t cut = 3000; cut <= 5 * kSampleBytes; cut += 333) {
    write_shards(folder, {5});
    std::filesystem::resize_file(folder / "s-0.tar", cut);
    SampleStream stream({.shards = pattern});
    EXPECT_EQ(stream.bad().count(BadCause::cut_shard), 1) << cut;
    EXPECT_GE(stream.size(), most);
    most = stream.size();
    int64_t number = 0;
    for (const auto& key : keys_of(stream)) EXPECT_EQ(key, sample_of(number++).key);
  }
}

TEST(SampleStream, RefusesWhatCannotBeRead) {
  const TempFolder folder;
  const auto open = [](const std::string& shards) {
    return [shards] { SampleStream stream({.shards = shards}); };
  };
  EXPECT_THAT(open(folder / "no-{0..3}.tar"),
              ThrowsMessage<weft::Error>(HasSubstr("no-{0..3}.tar")));
  EXPECT_THAT(open(""), ThrowsMessage<weft::Error>(HasSubstr("expected a pattern")));
  write_shard(folder / "empty.tar", {});
  EXPECT_THAT(open(folder / "empty.tar"),
              ThrowsMessage<weft::Error>(AllOf(HasSubstr("empty.tar"), HasSubstr("empty shard"))));
  weft::io::write_file(folder / "zero.tar", "");
  EXPECT_THAT(open(folder / "zero.tar"), ThrowsMessage<weft::Error>(HasSubstr("zero.tar")));
  SampleStream empty({.shards = folder / "{empty,zero}.tar", .may_be_empty = true});
  EXPECT_EQ(empty.size(), 0);
  EXPECT_FALSE(empty.next());
  EXPECT_EQ(empty.bad().count(BadCause::empty_shard), 2);
  weft::io::write_file(folder / "packed.tar", "\x1f\x8b\x08");
  EXPECT_THAT(open(folder / "packed.tar"), ThrowsMessage<weft::Error>(HasSubstr("found gzip")));
  weft::io::write_file(folder / "text.tar", std::string(4096, 'x'));
  EXPECT_THAT(open(folder / "text.tar"), ThrowsMessage<weft::Error>(HasSubstr("cut_shard 1")));
  write_shard(folder / "labels.tar", {{"a", {{"cls", "1"}}}});
  EXPECT_THAT(open(folder / "labels.tar"),
              ThrowsMessage<weft::Error>(HasSubstr("missing_image 1")));
}

}  // namespace stream_test
