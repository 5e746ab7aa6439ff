#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include <torch/types.h>

#include <weft/data/image_text.hpp>

#include "data/test_shards.hpp"
#include "support/gmock.hpp"

namespace image_text_test {

using namespace weft::test;
using weft::Error;
using weft::ErrorKind;
using weft::data::BadCause;
using weft::data::ImageTextBatch;
using weft::data::ImageTextLoader;
using weft::data::ImageTextLoaderOptions;

static ImageTextLoaderOptions options_of(const std::string& shards, int64_t batch_size,
                                         int64_t workers = 2) {
  ImageTextLoaderOptions options{
      .shards = shards, .batch_size = batch_size, .workers = workers, .shuffle_buffer = 16};
  options.transform.size = 8;
  options.transform.resize_mode = weft::vision::ResizeMode::squash;
  return options;
}

static std::vector<ImageTextBatch> batches_of(ImageTextLoader& loader) {
  std::vector<ImageTextBatch> out;
  while (auto batch = loader.next()) out.push_back(std::move(*batch));
  return out;
}

/// Every row's pixels, key and caption belong to one sample.
static void expect_whole(const ImageTextBatch& batch) {
  const auto rows = static_cast<int64_t>(batch.keys.size());
  ASSERT_EQ(batch.pixels.sizes(), (std::vector<int64_t>{rows, 3, 8, 8}));
  ASSERT_EQ(static_cast<int64_t>(batch.captions.size()), rows);
  for (int64_t i = 0; i < rows; ++i) {
    const auto number = std::stoll(batch.keys[static_cast<size_t>(i)].substr(1));
    EXPECT_EQ(batch.captions[static_cast<size_t>(i)].at(0), "caption " + std::to_string(number));
    for (int64_t c = 0; c < 3; ++c)
      EXPECT_TRUE((batch.pixels[i][c] == (number >> 8 * c) % 256).all().item<bool>());
  }
}

static std::string text_of(const std::vector<ImageTextBatch>& batches) {
  std::string out;
  for (const auto& batch : batches) {
    out += "| " + std::to_string(batch.epoch) + "." + std::to_string(batch.index) +
           (batch.last ? "! " : ": ");
    for (const auto& key : batch.keys) out += key + " ";
    out += std::to_string(batch.pixels.sum().item<int64_t>()) + " ";
  }
  return out;
}

TEST(ImageTextLoader, OrderIsThatOfAnyNumberOfWorkers) {
  const TempFolder folder;
  const auto pattern = write_shards(folder, {30, 7, 50, 13});
  for (const bool drop_last : {true, false}) {
    std::string expected;
    for (const int64_t workers : {0, 1, 2, 4}) {
      auto options = options_of(pattern, 12, workers);
      options.epochs = 2;
      options.drop_last = drop_last;
      ImageTextLoader loader(options);
      EXPECT_EQ(loader.size(), 100);
      EXPECT_EQ(loader.batches(), drop_last ? 8 : 9);
      const auto batches = batches_of(loader);
      ASSERT_EQ(static_cast<int64_t>(batches.size()), 2 * loader.batches());
      for (const auto& batch : batches) expect_whole(batch);
      EXPECT_EQ(static_cast<int64_t>(batches.back().keys.size()), drop_last ? 12 : 4);
      const auto text = text_of(batches);
      if (expected.empty()) expected = text;
      EXPECT_EQ(text, expected) << workers;
    }
  }
}

/// The keys of every step, over all ranks in their order.
static std::vector<std::vector<std::string>> steps_of(const std::string& pattern, int64_t world,
                                                      bool drop_last) {
  std::vector<std::vector<std::string>> out;
  for (int64_t rank = 0; rank < world; ++rank) {
    auto options = options_of(pattern, 12 / world);
    options.rank = rank;
    options.world = world;
    options.epochs = 2;
    options.drop_last = drop_last;
    ImageTextLoader loader(options);
    const auto batches = batches_of(loader);
    out.resize(batches.size());
    for (size_t i = 0; i < batches.size(); ++i) {
      expect_whole(batches[i]);
      out[i].insert(out[i].end(), batches[i].keys.begin(), batches[i].keys.end());
    }
  }
  return out;
}

TEST(ImageTextLoader, OrderIsThatOfAnyNumberOfRanks) {
  const TempFolder folder;
  for (const auto& sizes : {std::vector<int64_t>{30, 7, 50, 13}, std::vector<int64_t>{50}}) {
    const auto pattern = write_shards(folder, sizes);
    for (const bool drop_last : {true, false}) {
      const auto one = steps_of(pattern, 1, drop_last), two = steps_of(pattern, 2, drop_last),
                 four = steps_of(pattern, 4, drop_last);
      if (drop_last || sizes.size() > 1) {
        EXPECT_EQ(one, two);
        EXPECT_EQ(one, four);
      } else {  // 2 samples remain of 50: one a rank, or none
        EXPECT_EQ(one, two);
        EXPECT_EQ(four.size(), one.size() - 2);
      }
    }
  }
}

TEST(ImageTextLoader, GoesOnFromAnyBatch) {
  const TempFolder folder;
  auto options = options_of(write_shards(folder, {30, 7, 50, 13}), 12);
  options.epochs = 3;
  options.drop_last = false;
  ImageTextLoader whole(options);
  const auto all = batches_of(whole);
  std::mt19937 random(7);
  for (size_t taken : {size_t{0}, size_t{9}, all.size(), random() % 27, random() % 27}) {
    ImageTextLoader before(options), after(options);
    for (size_t i = 0; i < taken; ++i) before.next();
    for (int i = 0; i < 2; ++i) after.next();  // what it had in work is given up
    after.restore(weft::Json::parse(before.state().dump()));
    EXPECT_EQ(after.state(), before.state());
    const std::vector<ImageTextBatch> rest(all.begin() + static_cast<int64_t>(taken), all.end());
    EXPECT_EQ(text_of(batches_of(after)), text_of(rest)) << taken;
  }
  options.batch_size = 6;
  ImageTextLoader other(options);
  EXPECT_THAT([&] { other.restore(whole.state()); },
              ThrowsMessage<Error>(HasSubstr("global_batch = 12, but this run has 6")));
  options.world = 2;  // 2 x 6: the same global batch
  ImageTextLoader ranks(options);
  ranks.restore(ImageTextLoader(options).state());
}

/// 400 samples in 4 shards, of which one in 100 has a broken image, one lacks its caption, one has
/// broken JSON, and the last shard is cut.
static std::string write_damaged(const TempFolder& folder) {
  const auto pattern = write_shards(folder, {100, 100, 100, 100});
  for (int64_t shard = 0; shard < 3; ++shard) {
    std::vector<weft::test::TestSample> samples;
    for (int64_t i = 100 * shard; i < 100 * (shard + 1); ++i) {
      samples.push_back(sample_of(i));
      auto& fields = samples.back().fields;
      if (i % 100 == 37) fields["png"].resize(60);
      if (i == 150) fields.erase("txt");
      if (i == 250) fields = {{"png", fields["png"]}, {"json", "{\"captions\": ["}};
    }
    write_shard(folder / ("s-" + std::to_string(shard) + ".tar"), samples);
  }
  weft::test::cut_file(folder / "s-3.tar", 0.6);
  return pattern;
}

TEST(ImageTextLoader, CountsWhatIsDamagedAndGoesOn) {
  const TempFolder folder;
  const auto pattern = write_damaged(folder);
  std::set<std::string> good_keys;
  for (const int64_t workers : {0, 2}) {
    auto options = options_of(pattern, 16, workers);
    options.epochs = 3;
    options.drop_last = false;
    ImageTextLoader loader(options);
    size_t rows = 0;
    for (const auto& batch : batches_of(loader)) {
      expect_whole(batch);
      rows += batch.keys.size();
      good_keys.insert(batch.keys.begin(), batch.keys.end());
    }
    const auto& bad = loader.bad();
    EXPECT_EQ(bad.count(BadCause::decode_error), 3);
    EXPECT_EQ(bad.count(BadCause::missing_caption), 1);
    EXPECT_EQ(bad.count(BadCause::bad_caption), 1);
    EXPECT_EQ(bad.count(BadCause::cut_shard), 1);
    EXPECT_EQ(bad.total(), 6);
    EXPECT_EQ(bad.count(folder / "s-2.tar"), 2);
    EXPECT_EQ(rows, 3 * static_cast<size_t>(loader.size() - 4));
  }
  for (const auto* key : {"k00037", "k00137", "k00237", "k00150", "k00250"})
    EXPECT_EQ(good_keys.count(key), 0);
}

/// One of the ten ways in which samples of the field are broken, and what it counts as.
static BadCause damage(weft::test::TestSample& sample, size_t way) {
  auto& fields = sample.fields;
  const auto png = fields["png"];
  const auto jpeg =
      weft::io::encode_jpeg(weft::io::decode_image(std::as_bytes(std::span(png)), sample.key));
  switch (way) {
    case 0:  // cut on its way
      fields.erase("png");
      fields["jpg"] = jpeg.substr(0, jpeg.size() - 30);
      return BadCause::decode_error;
    case 1:  // a page in the place of the picture
      fields.erase("png");
      fields["jpg"] = "<!DOCTYPE html><html><body>404</body></html>";
      return BadCause::decode_error;
    case 2:
      fields["png"] = "";
      return BadCause::decode_error;
    case 3:  // a bit of the pixels has turned
      fields["png"][png.size() - 20] ^= 4;
      return BadCause::decode_error;
    case 4:
      fields.erase("png");
      return BadCause::missing_image;
    case 5:
      fields.erase("txt");
      return BadCause::missing_caption;
    case 6:
      fields["txt"] = " \n";
      return BadCause::missing_caption;
    case 7:  // Latin-1
      fields["txt"] = "un caf\xe9";
      return BadCause::bad_caption;
    case 8:
      fields["json"] = "{\"caption\": \"a d";
      return BadCause::bad_caption;
    default:
      fields["json"] = R"({"caption": 3})";
      return BadCause::bad_caption;
  }
}

TEST(ImageTextLoader, OnePercentOfDamageAndACutShardAreCountedExactly) {
  const TempFolder folder;
  std::vector<int64_t> order(2000);
  std::iota(order.begin(), order.end(), 0);
  std::ranges::shuffle(order, std::mt19937(5));
  std::map<int64_t, size_t> ways;  // number of the sample -> way
  for (size_t i = 0; i < 20; ++i) ways[order[i]] = i % 10;

  std::map<BadCause, int64_t> causes;
  std::map<std::string, int64_t> by_shard;
  std::multiset<std::string> expected;
  for (int64_t shard = 0; shard < 20; ++shard) {
    const auto path = folder / ("s-" + std::to_string(shard) + ".tar");
    std::vector<weft::test::TestSample> samples;
    for (int64_t i = 100 * shard; i < 100 * (shard + 1); ++i) {
      samples.push_back(sample_of(i));
      if (const auto way = ways.find(i); way != ways.end()) {
        ++causes[damage(samples.back(), way->second)];
        ++by_shard[path];
      } else {
        expected.insert(samples.back().key);
      }
    }
    write_shard(path, samples);
  }
  // The cut stands in the caption of the shard's sample 50.
  std::vector<weft::test::TestSample> samples;
  for (int64_t i = 2000; i < 2100; ++i) samples.push_back(sample_of(i));
  write_shard(folder / "s-20.tar", samples);
  constexpr uintmax_t kSampleBytes = 2048;  // two members of 512 bytes and their headers
  std::filesystem::resize_file(folder / "s-20.tar", 50 * kSampleBytes + 1300);
  for (size_t i = 0; i < 50; ++i) expected.insert(samples[i].key);
  ++causes[BadCause::cut_shard];
  ++by_shard[folder / "s-20.tar"];

  for (const int64_t workers : {0, 2}) {
    auto options = options_of(folder / "s-{0..20}.tar", 64, workers);
    options.drop_last = false;
    ImageTextLoader loader(options);
    std::multiset<std::string> arrived;
    for (const auto& batch : batches_of(loader)) {
      expect_whole(batch);
      arrived.insert(batch.keys.begin(), batch.keys.end());
    }
    EXPECT_EQ(arrived, expected);
    const auto& bad = loader.bad();
    EXPECT_EQ(bad.total(), 21);
    for (const auto& [cause, count] : causes) EXPECT_EQ(bad.count(cause), count) << bad.summary();
    for (const auto& [shard, count] : by_shard) EXPECT_EQ(bad.count(shard), count) << shard;
  }
}

TEST(ImageTextLoader, RanksKeepEqualRowsInSpiteOfDamage) {
  const TempFolder folder;
  const auto pattern = write_damaged(folder);
  std::vector<std::vector<std::string>> steps[2];
  for (const int64_t world : {2, 4}) {
    weft::data::BadData together;
    int64_t sum = 0;
    auto& out = steps[world / 4];
    for (int64_t rank = 0; rank < world; ++rank) {
      auto options = options_of(pattern, 16 / world);
      options.rank = rank;
      options.world = world;
      ImageTextLoader loader(options);
      const auto batches = batches_of(loader);
      EXPECT_EQ(static_cast<int64_t>(batches.size()), loader.batches());
      out.resize(batches.size());
      for (size_t i = 0; i < batches.size(); ++i) {
        expect_whole(batches[i]);
        EXPECT_EQ(static_cast<int64_t>(batches[i].keys.size()), 16 / world);
        out[i].insert(out[i].end(), batches[i].keys.begin(), batches[i].keys.end());
      }
      sum += loader.bad().total();
      together.add(loader.bad());
    }
    EXPECT_EQ(sum, together.total());  // nothing is counted twice
    EXPECT_GE(sum, 5);                 // 6, unless the dropped last step held one
  }
  EXPECT_EQ(steps[0], steps[1]);
}

TEST(ImageTextLoader, StopsWhereTooMuchIsDamaged) {
  const TempFolder folder;
  const auto pattern = write_shards(folder, {100, 100});
  std::vector<weft::test::TestSample> samples;
  for (int64_t i = 100; i < 200; ++i) {
    samples.push_back(sample_of(i));
    if (i % 8 == 0) samples.back().fields["png"] = "no image";
  }
  write_shard(folder / "s-1.tar", samples);
  const auto run = [&](double fraction, int64_t in_a_row, int64_t workers) {
    auto options = options_of(pattern, 10, workers);
    options.max_bad_fraction = fraction;
    options.max_bad_in_a_row = in_a_row;
    ImageTextLoader loader(options);
    batches_of(loader);
  };
  for (const int64_t workers : {0, 2}) {
    EXPECT_NO_THROW(run(0.07, 100, workers));
    EXPECT_THAT(
        [&] { run(0.05, 100, workers); },
        ThrowsMessage<Error>(AllOf(
            HasSubstr("11 of 200 samples are damaged (5.5 %), more than max_bad_fraction 0.05"),
            HasSubstr("decode_error 11"), HasSubstr("s-1.tar (decode_error 11)"))));
    try {
      run(0, 100, workers);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::bad_data);
      EXPECT_EQ(error.exit_status(), 5);
    }
    EXPECT_THAT([&] { run(1, 1, workers); },
                ThrowsMessage<Error>(HasSubstr("1 damaged samples in a row")));
  }
}

TEST(ImageTextLoader, PassesOnWhatAWorkerThrows) {
  const TempFolder folder;
  const auto pattern = write_shards(folder, {40});
  for (const int64_t workers : {0, 1, 3}) {
    ImageTextLoader loader(options_of(pattern, 8, workers),
                           [](const weft::io::Image& image, uint64_t, uint8_t*) {
                             if (image.rgb[0] == 21) throw std::runtime_error("from the transform");
                           });
    EXPECT_THAT([&] { batches_of(loader); },
                ThrowsMessage<std::runtime_error>(HasSubstr("from the transform")));
  }
}

TEST(ImageTextLoader, TransformSeedsBelongToTheSample) {
  const TempFolder folder;
  const auto pattern = write_shards(folder, {10, 30});
  const auto seeds_of = [&](int64_t workers, int64_t world) {
    std::map<std::pair<int64_t, std::string>, std::string> out;
    for (int64_t rank = 0; rank < world; ++rank) {
      auto options = options_of(pattern, 8 / world, workers);
      options.rank = rank, options.world = world, options.epochs = 2;
      ImageTextLoader loader(options, [](const weft::io::Image&, uint64_t seed, uint8_t* chw) {
        std::memset(chw, 0, 3 * 8 * 8);
        std::memcpy(chw, &seed, sizeof(seed));
      });
      for (const auto& batch : batches_of(loader))
        for (size_t i = 0; i < batch.keys.size(); ++i)
          out[{batch.epoch, batch.keys[i]}] = std::string(
              reinterpret_cast<const char*>(batch.pixels[static_cast<int64_t>(i)].data_ptr()), 8);
    }
    return out;
  };
  const auto seeds = seeds_of(0, 1);
  EXPECT_EQ(seeds, seeds_of(2, 1));
  EXPECT_EQ(seeds, seeds_of(2, 4));
  std::set<std::string> different;
  for (const auto& [place, seed] : seeds) different.insert(seed);
  EXPECT_EQ(different.size(), 80);
}

TEST(ImageTextLoader, ReadsLabelsInPlaceOfCaptions) {
  const TempFolder folder;
  std::vector<TestSample> samples;
  for (int64_t i = 0; i < 9; ++i) {
    samples.push_back(sample_of(i));
    samples.back().fields.erase("txt");
    if (i != 4) samples.back().fields["cls"] = std::to_string(100 + i);
  }
  write_shard(folder / "s.tar", samples);
  auto options = options_of(folder / "s.tar", 4);
  options.needs_caption = false;
  options.needs_label = true;
  options.drop_last = false;
  options.max_bad_fraction = 0.5;
  ImageTextLoader loader(options);
  int64_t rows = 0;
  for (const auto& batch : batches_of(loader)) {
    ASSERT_EQ(batch.labels.size(0), batch.pixels.size(0));
    for (int64_t i = 0; i < batch.labels.size(0); ++i, ++rows) {
      EXPECT_EQ("k" + std::string(4, '0') + std::to_string(batch.labels[i].item<int64_t>() - 100),
                batch.keys[i]);
      EXPECT_TRUE(batch.captions[i].empty());
    }
  }
  EXPECT_EQ(rows, 8);
  EXPECT_EQ(loader.bad().count(BadCause::missing_label), 1);
}

TEST(ImageTextLoader, NamesOptionsThatCannotBe) {
  const TempFolder folder;
  const auto pattern = write_shards(folder, {10});
  const auto open = [&](auto change) {
    auto options = options_of(pattern, 4);
    change(options);
    return [options] { ImageTextLoader loader(options); };
  };
  using O = ImageTextLoaderOptions;
  EXPECT_THAT(open([](O& o) { o.batch_size = 0; }), ThrowsMessage<Error>(HasSubstr("batch_size")));
  EXPECT_THAT(open([](O& o) { o.rank = 1; }),
              ThrowsMessage<Error>(HasSubstr("rank: expected 0 to 0 (world 1), found 1")));
  EXPECT_THAT(open([](O& o) { o.batch_size = 11; }),
              ThrowsMessage<Error>(HasSubstr("holds 10 samples, fewer than one step of 11")));
}

}  // namespace image_text_test
