#include <map>

#include <gtest/gtest.h>

#include <weft/data/captions.hpp>

namespace captions_test {

TEST(DrawCaption, IsUniformAndDependsOnEveryPart) {
  std::map<size_t, int> counts;
  for (int i = 0; i < 5000; ++i)
    ++counts[weft::data::draw_caption(1, i % 7, "key" + std::to_string(i), 5)];
  ASSERT_EQ(counts.size(), 5u);
  for (const auto& [which, count] : counts)
    EXPECT_NEAR(count, 1000, 130) << which;  // 4.6 standard deviations
  int changed = 0;
  for (int i = 0; i < 100; ++i)
    changed +=
        weft::data::draw_caption(1, i, "key", 1000) != weft::data::draw_caption(2, i, "key", 1000);
  EXPECT_GT(changed, 95);
  EXPECT_EQ(weft::data::draw_caption(3, 4, "key", 1), 0u);
}

}  // namespace captions_test
