#include <torch/types.h>

#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/data/labels.hpp>
#include <weft/train/classification.hpp>

#include "data/test_shards.hpp"
#include "support/gmock.hpp"
#include "support/tensors.hpp"

namespace classification_task_test {

using namespace weft::test;
using weft::Error;
using weft::Json;
using weft::data::ImageTextLoader;
using weft::train::ClassificationTask;

/// Samples of class number % 3 without captions.
struct Data {
  explicit Data(int64_t count, bool labels = true) {
    std::vector<TestSample> samples;
    for (int64_t i = 0; i < count; ++i) {
      samples.push_back(sample_of(20 * i));
      if (labels) samples.back().fields["cls"] = std::to_string(i % 3) + "\n";
      samples.back().fields.erase("txt");
    }
    write_shard(folder / "s.tar", samples);
  }
  std::string shards() const { return folder / "s.tar"; }
  ImageTextLoader loader(int64_t workers = 1) const {
    return ImageTextLoader({.shards = shards(),
                            .batch_size = 4,
                            .workers = workers,
                            .seed = 3,
                            .epochs = 2,
                            .needs_caption = false,
                            .needs_label = true,
                            .transform = {.size = 16}});
  }
  TempFolder folder;
};

static weft::models::ImageClassifier model(int64_t classes = 3) {
  torch::manual_seed(0);
  const auto image =
      weft::checkpoint::make_encoder("vit_tiny", weft::checkpoint::Role::image,
                                     Json::object({{"image_size", 16}, {"num_layers", 1}}));
  return weft::models::ImageClassifier(
      image.encoder, weft::models::ImageClassifierOptions{.num_classes = classes});
}

TEST(ClassificationTask, IsTheCrossEntropyAgainstSmoothedTargets) {
  const Data data(11);
  for (const double smoothing : {0.0, 0.1, 1.0}) {
    auto net = model();
    auto loader = data.loader(), same = data.loader();
    ClassificationTask task(net, loader, {.label_smoothing = smoothing});
    EXPECT_EQ(task.steps_per_epoch(), 2);
    const auto step = task.step();
    const auto batch = same.next();
    const auto logits = net->forward({.data = batch->pixels}).to(torch::kDouble);  // [4, 3]
    const auto p = logits.exp() / logits.exp().sum(1, true);
    double loss = 0, right = 0;
    for (int64_t i = 0; i < 4; ++i) {
      const auto label = batch->labels[i].item<int64_t>();
      double best = -1;
      int64_t guess = -1;
      for (int64_t c = 0; c < 3; ++c) {
        const auto share = p[i][c].item<double>();
        loss -= ((c == label ? 1 - smoothing : 0) + smoothing / 3) * std::log(share) / 4;
        if (share > best) best = share, guess = c;
      }
      right += guess == label;
    }
    EXPECT_NEAR(step.loss.item<double>(), loss, 1e-6) << smoothing;
    EXPECT_EQ(step.samples, 4);
    EXPECT_EQ(step.extra, (std::vector<std::pair<std::string, double>>{{"accuracy", right / 4}}));
    EXPECT_NEAR(step.epoch, 0.5, 1e-12);
    EXPECT_FALSE(step.epoch_end);
    EXPECT_TRUE(task.step().epoch_end);
    step.loss.backward();
    EXPECT_GT(net->encoder->named_parameters()["class_token"].grad().abs().max().item<float>(), 0);
  }
}

TEST(ClassificationTask, TakesUpTheDataWhereItStood) {
  const Data data(13);
  auto net = model();
  auto loader = data.loader();
  ClassificationTask task(net, loader);
  for (int i = 0; i < 2; ++i) task.step();
  const auto state = task.state();
  auto other_loader = data.loader(/*workers=*/2);
  ClassificationTask other(net, other_loader);
  other.restore(state);
  for (int i = 0; i < 4; ++i) {
    const auto a = task.step(), b = other.step();
    EXPECT_TRUE(torch::equal(a.loss, b.loss)) << i;
    EXPECT_EQ(a.epoch, b.epoch);
  }
  EXPECT_FALSE(task.step().loss.defined());  // two epochs of three batches
  EXPECT_FALSE(other.step().loss.defined());
}

TEST(CachedClassificationTask, TrainsTheHeadOnRowsInMemory) {
  torch::manual_seed(0);
  auto net = model();
  net->lock_encoder();
  weft::eval::LabelledFeatures samples{
      torch::randn({10, 192}), torch::randint(3, {10}, torch::kLong), std::vector<std::string>(10)};
  weft::train::CachedClassificationTask task(net, samples, 3, 5, {.label_smoothing = 0.2});
  weft::train::EpochRows order(10, 3, 5);
  ASSERT_EQ(task.steps_per_epoch(), 3);
  for (int i = 0; i < 4; ++i) {
    const auto rows = order.batch();
    const auto labels = samples.labels.index({rows});
    const auto logits = samples.features.index({rows}).mm(net->head->weight.t()) + net->head->bias;
    const auto smoothed = 0.8 * torch::one_hot(labels, 3) + 0.2 / 3;
    const auto loss = -(smoothed * logits.log_softmax(1)).sum(1).mean();
    const auto step = task.step();
    EXPECT_NEAR(step.loss.item<double>(), loss.item<double>(), 1e-5);
    EXPECT_NEAR(step.extra[0].second,
                logits.argmax(1).eq(labels).to(torch::kDouble).mean().item<double>(), 1e-12);
    EXPECT_EQ(step.epoch_end, i == 2);
    weft::train::StepResult ignored;
    order.advance(ignored);
  }
  const auto state = task.state();
  const auto expected = task.step().loss;
  weft::train::CachedClassificationTask other(net, samples, 3, 5, {.label_smoothing = 0.2});
  other.restore(state);
  const auto step = other.step();
  EXPECT_TRUE(torch::equal(step.loss, expected));
  step.loss.backward();
  EXPECT_TRUE(net->head->weight.grad().defined());
}

TEST(ClassificationTask, NamesWhatDoesNotFit) {
  const Data data(8);
  auto loader = data.loader();
  EXPECT_THAT(
      [&] { ClassificationTask(model(), loader, {.label_smoothing = 1.5}); },
      ThrowsMessage<c10::ValueError>(HasSubstr("label_smoothing must be in [0, 1], got 1.5")));
  ClassificationTask task(model(2), loader);
  EXPECT_THAT([&] { task.step(); },
              ThrowsMessage<Error>(AllOf(HasSubstr("sample 'k"),
                                         HasSubstr("label 2 has no class: there are 2, from 0"))));
  ImageTextLoader blind({.shards = data.shards(),
                         .batch_size = 4,
                         .needs_caption = false,
                         .transform = {.size = 16}});
  ClassificationTask unlabelled(model(), blind);
  EXPECT_THAT([&] { unlabelled.step(); },
              ThrowsMessage<c10::ValueError>(HasSubstr("the loader must have needs_label on")));
}

TEST(CountClasses, IsOneMoreThanTheLargestLabel) {
  const Data data(8);
  EXPECT_EQ(weft::data::count_classes(data.shards()), 3);
  const TempFolder wild;
  auto sample = sample_of(0);
  sample.fields["cls"] = "9223372036854775807";
  write_shard(wild / "s.tar", {sample});
  EXPECT_THAT([&] { weft::data::count_classes(wild / "s.tar"); },
              ThrowsMessage<Error>(HasSubstr("sample 'k00000' has the label 9223372036854775807")));
  const Data bare(2, /*labels=*/false);
  try {
    weft::data::count_classes(bare.shards());
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_status(), 5);
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("no sample has a label"), HasSubstr("missing_label")));
  }
}

}  // namespace classification_task_test
