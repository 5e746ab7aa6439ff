#include <cmath>

#include <torch/types.h>

#include <weft/eval/classification.hpp>

#include "support/gmock.hpp"

namespace classification_test {

using namespace weft::test;
using weft::eval::ClassCounts;
using weft::eval::classification;

TEST(Classification, CountsByHand) {
  // Class 0: one right, one taken for 2; class 1: absent; class 2: one taken for 0 (a tie).
  const auto scores = torch::tensor({{0.9, 0.1, 0.0}, {0.1, 0.2, 0.7}, {0.5, 0.1, 0.5}});
  const auto labels = torch::tensor({0, 0, 2}, torch::kLong);
  const auto result = classification(scores, labels);
  EXPECT_EQ(result.samples, 3);
  EXPECT_NEAR(result.top1, 1.0 / 3, 1e-12);
  EXPECT_EQ(result.top5, 1);  // three classes: always among the five
  EXPECT_NEAR(result.recall[0], 0.5, 1e-12);
  EXPECT_TRUE(std::isnan(result.recall[1]));
  EXPECT_EQ(result.recall[2], 0);
  EXPECT_NEAR(result.mean_per_class_recall, 0.25, 1e-12);
  EXPECT_TRUE(torch::equal(result.confusion, torch::tensor({{1, 0, 1}, {0, 0, 0}, {1, 0, 0}})));
  EXPECT_EQ(result.json("knn", {"a", "b", "c"}).erase("knn-val-top1").dump(),
            R"({"knn-val-top5":1.0,"mean_per_class_recall":0.25,"classes":["a","b","c"],)"
            R"("per_class":[0.5,null,0.0],"confusion":[[1,0,1],[0,0,0],[1,0,0]]})");
}

TEST(Classification, EqualsTopKAndAddsUpOverBlocks) {
  torch::manual_seed(0);
  const auto scores = torch::randn({203, 17});
  const auto labels = torch::randint(17, {203}, torch::kLong);
  const auto top = std::get<1>(scores.topk(5, 1)) == labels.unsqueeze(1);  // [N, 5]
  const auto share = [&](int64_t k) {
    return top.narrow(1, 0, k).any(1).to(torch::kDouble).mean().item<double>();
  };
  const auto whole = classification(scores, labels);
  EXPECT_NEAR(whole.top1, share(1), 1e-12);
  EXPECT_NEAR(whole.top5, share(5), 1e-12);
  EXPECT_EQ(whole.confusion.trace().item<int64_t>(), std::llround(whole.top1 * 203));
  ClassCounts parts(17);
  for (const auto& [begin, count] : {std::pair{0, 100}, std::pair{100, 1}, std::pair{101, 102}})
    parts.add(scores.narrow(0, begin, count), labels.narrow(0, begin, count));
  EXPECT_TRUE(torch::equal(parts.result().confusion, whole.confusion));
  EXPECT_EQ(parts.result().top5, whole.top5);
}

TEST(Classification, NamesWhatIsWrong) {
  const auto call = [](torch::Tensor scores, torch::Tensor labels) {
    return [=] { classification(scores, labels); };
  };
  const auto labels = torch::tensor({0, 3}, torch::kLong);
  EXPECT_THAT(call(torch::ones({2, 3}), labels),
              ThrowsMessage<c10::ValueError>(HasSubstr("labels must be 0 to 2, got 0 to 3")));
  EXPECT_THAT(call(torch::ones({3, 4}), labels),
              ThrowsMessage<c10::ValueError>(HasSubstr("got [3, 4] and [2]")));
  EXPECT_THAT(call(torch::full({2, 4}, NAN), labels),
              ThrowsMessage<c10::ValueError>(HasSubstr("finite")));
}

}  // namespace classification_test
