#include <torch/torch.h>

#include <weft/eval/visual_features.hpp>
#include <weft/train/vlm.hpp>

#include "support/gmock.hpp"
#include "support/small_vlm.hpp"
#include "support/tensors.hpp"

namespace vlm_train_test {

using namespace weft::test;
using weft::data::ConversationLoader;
using weft::data::Turns;
using weft::models::Vlm;

/// Sum of the losses of all answer tokens of an epoch, and their number.
std::pair<double, int64_t> total(Vlm model, ConversationLoader loader,
                                 const weft::eval::VisualFeatures* features = nullptr) {
  const torch::NoGradGuard no_grad;
  double sum = 0;
  int64_t count = 0;
  while (const auto batch = loader.next()) {
    const auto n = (batch->targets != -100).sum().item<int64_t>();
    sum += weft::train::answer_losses(*model, *batch, weft::ops::LossReduction::mean, features)
               .item<double>() *
           static_cast<double>(n);
    count += n;
  }
  return {sum, count};
}

// One sequence with the image once, or a sequence a question: the same loss.
TEST(AnswerLosses, SharedAndPackedQuestionsLoseWhatTheyLoseAlone) {
  const SmallTalks talks;
  auto vlm = small_vlm();
  const auto alone = total(vlm, talks.loader(Turns::alone, 1));
  for (const auto& [turns, batch, pack] : {std::tuple<Turns, int64_t, int64_t>{Turns::alone, 5, 0},
                                           {Turns::shared, 1, 0},
                                           {Turns::shared, 4, 0},
                                           {Turns::alone, 1, 300},
                                           {Turns::shared, 2, 400}}) {
    const auto other = total(vlm, talks.loader(turns, batch, pack));
    EXPECT_EQ(other.second, alone.second);
    EXPECT_NEAR(other.first / alone.first, 1, 1e-5) << batch << " " << pack;
  }
  const auto joint = total(vlm, talks.loader(Turns::joint, 2));
  EXPECT_EQ(joint.second, alone.second);
  EXPECT_GT(std::abs(joint.first / alone.first - 1), 1e-6);  // later answers see earlier ones
}

// Images and question see each other, whatever stands beside them in a batch or a row.
TEST(AnswerLosses, PrefixesAreThoseOfTheirSamples) {
  const SmallTalks talks;
  const auto loader = [&](int64_t batch, int64_t pack) {
    return talks.loader(Turns::alone, batch, pack, SmallTalks::pixels_of, true);
  };
  auto vlm = small_vlm(true);
  const auto alone = total(vlm, loader(1, 0));
  for (const auto& [batch, pack] : {std::pair<int64_t, int64_t>{5, 0}, {1, 300}}) {
    const auto other = total(vlm, loader(batch, pack));
    EXPECT_EQ(other.second, alone.second);
    EXPECT_NEAR(other.first / alone.first, 1, 1e-5) << batch << " " << pack;
  }
  const auto causal = total(small_vlm(), talks.loader(Turns::alone, 1));
  EXPECT_EQ(causal.second, alone.second);
  EXPECT_GT(std::abs(causal.first / alone.first - 1), 1e-6);
  auto blind = talks.loader(Turns::alone, 1);
  const auto batch = blind.next();
  EXPECT_THAT([&] { weft::train::answer_losses(*vlm, *batch); },
              ThrowsMessage<c10::ValueError>(HasSubstr("where the prefixes of a batch end")));
}

// Where they cannot have one image, they have one each.
TEST(AnswerLosses, CopiedImagesLoseWhatTheyLoseAlone) {
  const SmallTalks talks(true);
  auto vlm = small_vlm();
  const auto alone = total(vlm, talks.loader(Turns::alone, 1));
  const auto features = weft::eval::VisualFeatures::compute(*vlm, 3, SmallTalks::pixels_of, {});
  for (const auto& [batch, pack] : {std::pair<int64_t, int64_t>{1, 0}, {4, 0}, {2, 400}}) {
    const auto other = total(vlm, talks.loader(Turns::shared, batch, pack));
    EXPECT_EQ(other.second, alone.second);
    EXPECT_NEAR(other.first / alone.first, 1, 1e-5) << batch << " " << pack;
    const auto kept =
        total(vlm, talks.loader(Turns::shared, batch, pack, features->reader()), &*features);
    EXPECT_NEAR(kept.first / alone.first, 1, 1e-5) << batch << " " << pack;
  }
  auto loader = talks.loader(Turns::shared, 2);
  while (loader.next()) continue;
  EXPECT_EQ(loader.copied(), 4);  // those of more than one question
  EXPECT_THAT(loader.warnings(), ElementsAre(HasSubstr("4 conversations' questions could not")));
}

// The definition, by the model's own logits.
TEST(AnswerLosses, IsTheMeanOverAnswerTokens) {
  const SmallTalks talks;
  auto vlm = small_vlm();
  auto loader = talks.loader(Turns::joint, 6);
  const auto batch = loader.next();
  const auto logits =
      vlm->forward({.text = batch->text, .images = batch->images}).logits.flatten(0, 1);
  const auto expected = torch::nn::functional::cross_entropy(
      logits, batch->targets.flatten(),
      torch::nn::functional::CrossEntropyFuncOptions().ignore_index(-100));
  EXPECT_TRUE(close(weft::train::answer_losses(*vlm, *batch), expected, 1e-5));
}

TEST(VisualFeatures, StandForTheTower) {
  const SmallTalks talks;
  auto vlm = small_vlm();
  const auto features = weft::eval::VisualFeatures::compute(*vlm, 3, SmallTalks::pixels_of,
                                                            {.batch_size = 2, .workers = 1});
  ASSERT_TRUE(features);
  EXPECT_EQ(features->bytes(), 3 * 4 * 8 * 4);
  const auto kept = total(vlm, talks.loader(Turns::joint, 2, 0, features->reader()), &*features);
  EXPECT_NEAR(kept.first / total(vlm, talks.loader(Turns::joint, 2)).first, 1, 1e-6);
  EXPECT_FALSE(weft::eval::VisualFeatures::compute(*vlm, 3, SmallTalks::pixels_of,
                                                   {.batch_size = 2, .max_bytes = 300}));
  const auto some = weft::eval::VisualFeatures::compute(
      *vlm, 3,
      [](int64_t image) {
        if (image == 1)
          throw weft::data::BadSample(weft::data::BadCause::decode_error, "image 1 is damaged");
        return SmallTalks::pixels_of(image);
      },
      {});
  EXPECT_THAT([&] { some->reader()(1); },
              ThrowsMessage<weft::data::BadSample>(HasSubstr("image 1 is damaged")));
  EXPECT_EQ(some->of({0, 2}).tokens.sizes(), (std::vector<int64_t>{2, 4, 8}));
}

TEST(VlmTask, TrainsTheNamedPartsOnly) {
  const SmallTalks talks;
  auto vlm = small_vlm();
  weft::train::train_parts(*vlm, {"connector"});
  auto loader = talks.loader(Turns::joint, 3);
  weft::train::VlmTask task(vlm, loader);
  task.step().loss.backward();
  for (const auto& parameter : vlm->named_parameters())
    EXPECT_EQ(parameter.value().grad().defined(), parameter.key().starts_with("connector."))
        << parameter.key();
  EXPECT_FALSE(vlm->vision->is_training());
  EXPECT_TRUE(vlm->connector->is_training());
  weft::train::train_parts(*vlm, {"vision", "language"});
  task.step().loss.backward();
  EXPECT_TRUE(vlm->vision->parameters().front().grad().defined());
  EXPECT_THROW(weft::train::train_parts(*vlm, {"projector"}), c10::ValueError);
  const auto features = weft::eval::VisualFeatures::compute(*vlm, 3, SmallTalks::pixels_of, {});
  EXPECT_THROW(weft::train::VlmTask(vlm, loader, &*features), c10::ValueError);
}

// Nothing of a text without images hangs on the connector; the step is one all the same.
TEST(VlmTask, TakesBatchesOfTextAlone) {
  const TempFolder folder;
  weft::Json::parse(R"([
      {"id": "a", "conversations": [{"from": "human", "value": "What?"},
                                    {"from": "gpt", "value": "A dog."}]},
      {"id": "b", "conversations": [{"from": "human", "value": "Which colour?"},
                                    {"from": "gpt", "value": "word"}]}])")
      .write(folder / "t.json");
  ConversationLoader loader(
      std::make_shared<weft::data::ConversationSource>(
          weft::data::ConversationSourceOptions{.data = folder / "t.json"}),
      std::make_shared<weft::data::ConversationEncoder>(
          byte_tokenizer(), weft::tokenizers::conversation_template("chatml", "/nowhere"),
          weft::data::ConversationEncoderOptions{.image_token = kPlaceholder}),
      SmallTalks::pixels_of, {.batch_size = 2, .workers = 1});
  auto vlm = small_vlm();
  weft::train::train_parts(*vlm, {"connector"});
  weft::train::VlmTask task(vlm, loader);
  task.step().loss.backward();
  for (const auto& parameter : vlm->connector->parameters()) {
    ASSERT_TRUE(parameter.grad().defined());
    EXPECT_EQ(parameter.grad().abs().max().item<double>(), 0);
  }
}

// Ids that the language model has no rows for.
TEST(VlmInput, RefusesAnotherModelsTokenizer) {
  const SmallTalks talks;
  auto loader = talks.loader(Turns::joint, 2);
  auto batch = loader.next();
  batch->text.ids[0][0] = byte_tokenizer()->vocab_size();
  auto vlm = small_vlm();
  EXPECT_THAT([&] { weft::train::vlm_input(*vlm, *batch); },
              ThrowsMessage<c10::ValueError>(HasSubstr("the tokenizer does not fit")));
}

TEST(ScaledRates, MultiplyByPrefix) {
  const auto rule = weft::train::scaled_rates({{"vision.", 0.1}, {"connector.", 4}});
  const auto weight = torch::zeros({2, 2});
  EXPECT_EQ(rule("vision.blocks.0.weight", weight).lr_scale, 0.1);
  EXPECT_EQ(rule("connector.layers_0.weight", weight).lr_scale, 4);
  EXPECT_EQ(rule("language.norm.weight", weight).lr_scale, 1);
}

TEST(VlmTask, LearnsAndGoesOnBitForBit) {
  const SmallTalks talks;
  const auto train = [&](const std::string& run, int64_t max_steps, const std::string& resume) {
    auto vlm = small_vlm();
    weft::train::train_parts(*vlm, {"connector", "language"});
    auto loader = ConversationLoader(talks.loader(Turns::shared, 2));
    weft::train::VlmTask task(vlm, loader);
    weft::report::RunLog log(talks.folder / run);
    weft::train::Trainer trainer(
        *vlm, task,
        {.epochs = 1, .max_steps = max_steps, .lr = 1e-2, .save_every = 0, .resume = resume}, log);
    return trainer.run().loss;
  };
  const auto whole = train("whole", 0, "");
  train("half", 1, "");
  EXPECT_EQ(train("half", 0, "latest"), whole);
}

}  // namespace vlm_train_test
