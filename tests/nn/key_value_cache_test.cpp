#include <torch/torch.h>

#include <weft/nn/key_value_cache.hpp>

#include "support/gmock.hpp"

namespace key_value_cache_test {

using namespace weft::test;

TEST(KeyValueCache, GrowsReordersAndForgets) {
  weft::nn::KeyValues cache;
  std::vector<torch::Tensor> keys, values;
  for (const int64_t count : {3, 1, 1, 7}) {
    keys.push_back(torch::randn({2, 4, count, 5}));
    values.push_back(torch::randn({2, 4, count, 5}));
    const auto [k, v] = cache.append(keys.back(), values.back());
    EXPECT_TRUE(torch::equal(k, torch::cat(keys, 2)));
    EXPECT_TRUE(torch::equal(v, torch::cat(values, 2)));
  }
  EXPECT_EQ(cache.length(), 12);
  cache.truncate(4);
  cache.reorder(torch::tensor({1, 1, 0}));
  const auto more = torch::randn({3, 4, 1, 5});
  const auto [k, v] = cache.append(more, more);
  const auto before = torch::cat(keys, 2).slice(2, 0, 4).index_select(0, torch::tensor({1, 1, 0}));
  EXPECT_TRUE(torch::equal(k, torch::cat({before, more}, 2)));
}

TEST(KeyValueCache, ReservedRoomIsNotMovedWhenItFills) {
  weft::nn::KeyValueCache cache;
  cache.reserve(2, 10);
  EXPECT_EQ(cache.length(), 0);
  const auto x = torch::randn({1, 1, 2, 3});
  const auto* place = cache.layers[0].append(x, x).first.const_data_ptr<float>();
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(cache.layers[0].append(x, x).first.const_data_ptr<float>(), place);
  EXPECT_EQ(cache.length(), 10);
}

TEST(KeyValueCacheErrors, NameShapesAndGradients) {
  weft::nn::KeyValues cache;
  cache.append(torch::ones({1, 2, 3, 4}), torch::ones({1, 2, 3, 4}));
  EXPECT_THAT(
      [&] {
        cache.append(torch::ones({2, 2, 1, 4}), torch::ones({2, 2, 1, 4}));
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("1 rows, 2 heads and width 4, got [2, 2, 1, 4]")));
  const auto x = torch::ones({1, 2, 1, 4}, torch::requires_grad());
  EXPECT_THAT([&] { cache.append(x, x); },
              ThrowsMessage<c10::ValueError>(HasSubstr("switch gradients off")));
  EXPECT_THAT([&] { cache.truncate(4); },
              ThrowsMessage<c10::ValueError>(HasSubstr("cannot cut 3 tokens to 4")));
}

}  // namespace key_value_cache_test
