#include <cmath>

#include <torch/torch.h>

#include <weft/train/preference.hpp>

#include "support/gmock.hpp"
#include "support/small_vlm.hpp"

namespace preference_train_test {

using namespace weft::test;
using weft::Json;
using weft::data::ConversationLoader;

/// Eight questions about three images, each with two answers.
struct Pairs {
  Pairs() {
    auto list = Json::array();
    for (int64_t i = 0; i < 8; ++i)
      list.push_back(Json::object(
          {{"id", std::to_string(i)},
           {"image", std::to_string(i % 3) + ".png"},
           {"conversations",
            std::vector<Json>{Json::object(
                {{"from", "human"}, {"value", "<image>What " + std::to_string(i) + "?"}})}},
           {"chosen", "Answer " + std::to_string(i)},
           {"rejected", "word"}}));
    list.write(folder / "p.json");
  }

  ConversationLoader loader() const {
    return {std::make_shared<weft::data::ConversationSource>(
                weft::data::ConversationSourceOptions{.data = folder / "p.json"}),
            std::make_shared<weft::data::ConversationEncoder>(
                byte_tokenizer(), weft::tokenizers::conversation_template("chatml", "/nowhere"),
                weft::data::ConversationEncoderOptions{.image_token = kPlaceholder}),
            SmallTalks::pixels_of,
            {.batch_size = 2, .workers = 1, .preferences = true}};
  }

  TempFolder folder;
};

// As a dry run does: what the first step needs, and no more.
TEST(PreferenceTask, MeasuresAsManyBatchesOfTheReferenceAsItIsTold) {
  const Pairs pairs;
  auto loader = pairs.loader(), once = pairs.loader();
  auto vlm = small_vlm();
  weft::train::PreferenceTask task(vlm, loader, {});
  task.measure_reference(once, weft::nn::Precision::fp32, 1);
  EXPECT_NEAR(task.step().loss.item<double>(), std::log(2.0), 1e-6);
  EXPECT_THAT([&] { task.step(); },
              ThrowsMessage<weft::Error>(HasSubstr("the reference was not measured on it")));
  ASSERT_TRUE(once.next());  // the second batch is still there

  auto again = pairs.loader(), all = pairs.loader();
  weft::train::PreferenceTask whole(vlm, again, {});
  whole.measure_reference(all, weft::nn::Precision::fp32);
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(whole.step().loss.item<double>(), std::log(2.0), 1e-6);
}

}  // namespace preference_train_test
