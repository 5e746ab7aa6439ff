#include <torch/types.h>

#include <weft/report/attention.hpp>

#include "support/gmock.hpp"
#include "support/tensors.hpp"

namespace attention_test {

using namespace weft::test;
using weft::report::attention_overlay;
using weft::report::attention_rollout;
using weft::report::patch_map;

TEST(AttentionRollout, IsTheProductOfHalfAttentionHalfIdentity) {
  // Two layers, two heads whose means are [[.5, .5], [0, 1]] and [[0, 1], [1, 0]].
  const auto a = torch::tensor({{1.0, 0.0}, {0.0, 1.0}}),
             b = torch::tensor({{0.0, 1.0}, {0.0, 1.0}}),
             swap = torch::tensor({{0.0, 1.0}, {1.0, 0.0}});
  const auto attention = torch::stack({torch::stack({a, b}), torch::stack({swap, swap})});
  // layer 1: [[.75, .25], [0, 1]]; layer 2: [[.5, .5], [.5, .5]]; their product by hand.
  const auto expected = torch::tensor({{0.375, 0.625}, {0.375, 0.625}});
  EXPECT_TRUE(close(attention_rollout(attention), expected, 1e-6));
}

TEST(AttentionRollout, KeepsRowsThatSumToOneAndIdentities) {
  torch::manual_seed(0);
  const auto rollout = attention_rollout(torch::randn({5, 3, 7, 7}).softmax(-1));
  EXPECT_TRUE(close(rollout.sum(1), torch::ones({7}), 1e-5));
  EXPECT_TRUE(close(attention_rollout(torch::eye(4).expand({3, 2, 4, 4})), torch::eye(4), 1e-6));
  EXPECT_THAT(
      [] {
        attention_rollout(torch::ones({2, 3, 4}));
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("[L, H, N, N], got [2, 3, 4]")));
  EXPECT_THAT(
      [] {
        attention_rollout(torch::ones({1, 1, 2, 2}));
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("must sum to 1")));
}

TEST(PatchMap, LeavesThePrefixOut) {
  const auto rollout = torch::arange(64.0).view({8, 8});
  EXPECT_TRUE(torch::equal(patch_map(rollout, 2, 3, 2, 1),
                           torch::tensor({{10.0, 11.0, 12.0}, {13.0, 14.0, 15.0}})));
  EXPECT_THAT([&] { patch_map(rollout, 2, 3, 1); },
              ThrowsMessage<c10::ValueError>(HasSubstr("N = 1 + 2 * 3")));
}

TEST(AttentionOverlay, MixesTheScaleIntoTheImage) {
  const weft::io::Image grey{2, 1, std::vector<uint8_t>(6, 100)};
  const auto map = torch::tensor({{0.1, 0.5}});
  EXPECT_EQ(attention_overlay(grey, map, 0), grey);
  EXPECT_THAT(attention_overlay(grey, map, 1).rgb, ElementsAre(68, 1, 84, 253, 231, 37));
  EXPECT_THAT(attention_overlay(grey, map, 0.5).rgb, ElementsAre(84, 51, 92, 177, 166, 69));
  // A map of two patches over four pixels: bilinear between the patches' middles.
  const weft::io::Image wide{4, 1, std::vector<uint8_t>(12, 0)};
  const auto mixed = attention_overlay(wide, map, 1).rgb;
  EXPECT_EQ((std::vector<uint8_t>{mixed.begin(), mixed.begin() + 6}),
            (std::vector<uint8_t>{68, 1, 84, 59, 82, 139}));  // shares 0 and 1/4
  // A map without differences is all dark.
  EXPECT_THAT(attention_overlay(grey, torch::ones({1, 1}), 1).rgb,
              ElementsAre(68, 1, 84, 68, 1, 84));
  // A map of the two middle pixels, and one that begins left of the image.
  const auto inner = attention_overlay(wide, map, 1, {.left = 1, .width = 2}).rgb;
  EXPECT_THAT(inner, ElementsAre(0, 0, 0, 68, 1, 84, 253, 231, 37, 0, 0, 0));
  const auto before = attention_overlay(wide, map, 1, {.left = -1, .width = 2}).rgb;
  EXPECT_THAT(before, ElementsAre(253, 231, 37, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT([&] { attention_overlay(grey, map, 2); },
              ThrowsMessage<c10::ValueError>(HasSubstr("alpha must be 0 to 1, got 2")));
}

}  // namespace attention_test
