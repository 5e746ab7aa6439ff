#include <fstream>

#include <torch/torch.h>

#include <weft/checkpoint/connectors.hpp>
#include <weft/fusion/projector.hpp>
#include <weft/text/decoder_lm.hpp>
#include <weft/tokenizers/conversation.hpp>
#include <weft/train/vlm.hpp>
#include <weft/vision/vision_transformer.hpp>

#include "data/byte_tokenizer.hpp"
#include "support/gmock.hpp"
#include "support/tensors.hpp"

namespace vlm_train_test {

using namespace weft::test;
using weft::Json;
using weft::data::ConversationLoader;
using weft::data::Turns;
using weft::data::VisualInput;
using weft::models::Vlm;

constexpr int64_t kImage = -200;

Vlm model() {
  torch::manual_seed(3);
  Vlm out(
      std::make_shared<weft::vision::VisionTransformerImpl>(weft::vision::VisionTransformerOptions{
          .image_size = 8, .patch_size = 4, .hidden_size = 8, .num_layers = 2, .num_heads = 2}),
      weft::checkpoint::make_connector("mlp2x_gelu", 8, 12),
      std::make_shared<weft::text::DecoderLmImpl>(weft::text::DecoderLmOptions{
          .vocab_size = byte_tokenizer()->vocab_size(),
          .num_layers = 2,
          .block = {.attention = {.hidden_size = 12, .num_heads = 2},
                    .mlp = {.hidden_size = 12, .intermediate_size = 16, .gated = true},
                    .norm = weft::nn::NormKind::rms_norm},
          .rotary = {.dim = 6},
          .init_std = 0.3}),
      weft::models::VlmOptions{.image_token = kImage, .vision_layers = {-1}});
  out->eval();
  return out;
}

/// Six conversations of one to three questions about three images.
struct Talks {
  Talks() {
    auto list = Json::array();
    for (int64_t i = 0; i < 6; ++i) {
      std::vector<Json> turns;
      for (int64_t k = 0; k <= i % 3; ++k) {
        turns.push_back(Json::object(
            {{"from", "human"},
             {"value", (k == 0 ? "<image>\nWhat " : "Which ") + std::to_string(i * 7 + k) + "?"}}));
        turns.push_back(Json::object({{"from", "gpt"}, {"value", "Answer " + std::to_string(k)}}));
      }
      list.push_back(Json::object({{"id", std::to_string(i)},
                                   {"image", std::to_string(i % 3) + ".png"},
                                   {"conversations", turns}}));
    }
    list.write(folder / "a.json");
  }

  ConversationLoader loader(Turns turns, int64_t batch_size, int64_t pack = 0,
                            weft::data::ReadVisual read = pixels_of) const {
    return {std::make_shared<weft::data::ConversationSource>(weft::data::ConversationSourceOptions{
                .data = folder / "a.json", .alone = turns == Turns::alone}),
            std::make_shared<weft::data::ConversationEncoder>(
                byte_tokenizer(), weft::tokenizers::conversation_template("chatml", "/nowhere"),
                weft::data::ConversationEncoderOptions{.image_token = kImage, .turns = turns}),
            std::move(read),
            {.batch_size = batch_size, .workers = 1, .drop_last = false, .pack_length = pack}};
  }

  static VisualInput pixels_of(int64_t image) {
    return {
        .pixels = ((torch::arange(3 * 64) * (image + 3)) % 251).view({1, 3, 8, 8}).to(torch::kByte),
        .tokens = 4};
  }

  TempFolder folder;
};

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
  const Talks talks;
  auto vlm = model();
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

// The definition, by the model's own logits.
TEST(AnswerLosses, IsTheMeanOverAnswerTokens) {
  const Talks talks;
  auto vlm = model();
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
  const Talks talks;
  auto vlm = model();
  const auto features = weft::eval::VisualFeatures::compute(*vlm, 3, Talks::pixels_of,
                                                            {.batch_size = 2, .workers = 1});
  ASSERT_TRUE(features);
  EXPECT_EQ(features->bytes(), 3 * 4 * 8 * 4);
  const auto kept = total(vlm, talks.loader(Turns::joint, 2, 0, features->reader()), &*features);
  EXPECT_NEAR(kept.first / total(vlm, talks.loader(Turns::joint, 2)).first, 1, 1e-6);
  EXPECT_FALSE(weft::eval::VisualFeatures::compute(*vlm, 3, Talks::pixels_of,
                                                   {.batch_size = 2, .max_bytes = 300}));
  const auto some = weft::eval::VisualFeatures::compute(
      *vlm, 3,
      [](int64_t image) {
        if (image == 1)
          throw weft::data::BadSample(weft::data::BadCause::decode_error, "image 1 is damaged");
        return Talks::pixels_of(image);
      },
      {});
  EXPECT_THAT([&] { some->reader()(1); },
              ThrowsMessage<weft::data::BadSample>(HasSubstr("image 1 is damaged")));
  EXPECT_EQ(some->of({0, 2}).tokens.sizes(), (std::vector<int64_t>{2, 4, 8}));
}

TEST(VlmTask, TrainsTheNamedPartsOnly) {
  const Talks talks;
  auto vlm = model();
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
  const auto features = weft::eval::VisualFeatures::compute(*vlm, 3, Talks::pixels_of, {});
  EXPECT_THROW(weft::train::VlmTask(vlm, loader, &*features), c10::ValueError);
}

TEST(ScaledRates, MultiplyByPrefix) {
  const auto rule = weft::train::scaled_rates({{"vision.", 0.1}, {"connector.", 4}});
  const auto weight = torch::zeros({2, 2});
  EXPECT_EQ(rule("vision.blocks.0.weight", weight).lr_scale, 0.1);
  EXPECT_EQ(rule("connector.layers_0.weight", weight).lr_scale, 4);
  EXPECT_EQ(rule("language.norm.weight", weight).lr_scale, 1);
}

TEST(VlmTask, LearnsAndGoesOnBitForBit) {
  const Talks talks;
  const auto train = [&](const std::string& run, int64_t max_steps, const std::string& resume) {
    auto vlm = model();
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
