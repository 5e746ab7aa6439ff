#include <cmath>

#include <gmock/gmock.h>

#include <torch/types.h>

#include <weft/eval/retrieval.hpp>

namespace retrieval_test {

using testing::HasSubstr;
using testing::ThrowsMessage;
using torch::Tensor;
using weft::eval::Recall;

static Tensor unit(int64_t rows, int64_t width) {
  const auto x = torch::randn({rows, width});
  return x / x.norm(2, 1, true);
}
static void expect_equal(const Recall& a, double r1, double r5, double r10) {
  EXPECT_NEAR(a.r1, r1, 1e-9);
  EXPECT_NEAR(a.r5, r5, 1e-9);
  EXPECT_NEAR(a.r10, r10, 1e-9);
}

/// Both ways by torch.topk over the whole score matrix.
static void compare_with_topk(const Tensor& image, const Tensor& text, const Tensor& owner) {
  const auto s = image.mm(text.t());
  const auto top_i = std::get<1>(s.topk(10, 1)), top_t = std::get<1>(s.t().topk(10, 1));
  const auto self = torch::arange(image.size(0)).unsqueeze(1);
  const auto mean = [](const Tensor& hit) {
    return hit.any(1).to(torch::kDouble).mean().item<double>();
  };
  const auto i2t = [&](int64_t k) { return mean(owner.index({top_i.narrow(1, 0, k)}) == self); };
  const auto t2i = [&](int64_t k) { return mean(top_t.narrow(1, 0, k) == owner.unsqueeze(1)); };
  const auto result = weft::eval::retrieval(image, text, owner);
  expect_equal(result.image_to_text, i2t(1), i2t(5), i2t(10));
  expect_equal(result.text_to_image, t2i(1), t2i(5), t2i(10));
}

TEST(Retrieval, EqualsTopKOfTheScoreMatrix) {
  torch::manual_seed(0);
  for (const int64_t images : {10, 37, 1100}) {  // 1100 x 5500 scores are two blocks
    const auto owner = torch::arange(images).repeat_interleave(5);
    const auto image = unit(images, 8);
    auto text = image.index({owner}) + 0.3 * torch::randn({5 * images, 8});
    compare_with_topk(image, text, owner);
    const auto order = torch::randperm(5 * images);
    compare_with_topk(image, text.index({order}), owner.index({order}));
    compare_with_topk(image, text, torch::randint(images, {5 * images}));  // some without a text
  }
}

TEST(Retrieval, RanksEqualScoresByIndex) {
  const auto image = torch::eye(2).repeat({1, 1}), one = torch::ones({12, 2});
  // Every text scores 1 with every image: image 0 owns the first text, image 1 the last.
  auto owner = torch::zeros({12}, torch::kLong);
  owner[11] = 1;
  const auto result = weft::eval::retrieval(image, one, owner);
  expect_equal(result.image_to_text, 0.5, 0.5, 0.5);
  expect_equal(result.text_to_image, 11.0 / 12, 1, 1);
  EXPECT_TRUE(
      torch::equal(weft::eval::top_k(image, one, 3), torch::tensor({{0, 1, 2}, {0, 1, 2}})));
}

TEST(Retrieval, CountsPlacesAsOpenClipDoes) {
  torch::manual_seed(2);
  const auto image = unit(40, 4), text = unit(40, 4);
  const auto result = weft::eval::retrieval(image, text, torch::arange(40));
  // get_clip_metrics of open_clip_train/train.py, one text an image.
  const auto expect = [](const Tensor& scores, const Recall& recall) {
    const auto order = std::get<1>(scores.sort(1, /*descending=*/true));
    const auto place = std::get<1>((order == torch::arange(40).unsqueeze(1)).max(1));  // [40]
    EXPECT_NEAR(recall.mean_rank, place.to(torch::kDouble).mean().item<double>() + 1, 1e-9);
    const auto sorted = std::get<0>(place.sort());
    EXPECT_EQ(recall.median_rank, std::floor((sorted[19] + sorted[20]).item<double>() / 2) + 1);
  };
  expect(image.mm(text.t()), result.image_to_text);
  expect(text.mm(image.t()), result.text_to_image);
  const auto metrics = result.metrics();
  EXPECT_EQ(metrics.size(), 10u);
  EXPECT_EQ(metrics[5].first, "text_to_image_mean_rank");
  EXPECT_EQ(metrics[5].second, result.text_to_image.mean_rank);
  // Images without a text count as misses, and have no place.
  const auto half =
      weft::eval::retrieval(torch::eye(4), torch::eye(4).narrow(0, 0, 2), torch::arange(2));
  EXPECT_EQ(half.image_to_text.r1, 0.5);
  EXPECT_EQ(half.image_to_text.mean_rank, 1);
}

TEST(Retrieval, WritesJson) {
  const weft::eval::RetrievalResult result{{0.25, 0.5, 1}, {0, 0.125, 0.75}};
  EXPECT_EQ(result.json().dump(), R"({"image_to_text":{"r1":0.25,"r5":0.5,"r10":1.0},)"
                                  R"("text_to_image":{"r1":0.0,"r5":0.125,"r10":0.75}})");
}

TEST(Retrieval, NamesWhatIsWrong) {
  const auto owner = torch::zeros({3}, torch::kLong);
  const auto call = [](Tensor image, Tensor text, Tensor owner) {
    return [=] { weft::eval::retrieval(image, text, owner); };
  };
  EXPECT_THAT(call(torch::ones({2, 4}), torch::ones({3, 5}), owner),
              ThrowsMessage<c10::ValueError>(HasSubstr("got [2, 4] and [3, 5]")));
  EXPECT_THAT(call(torch::ones({2, 4}), torch::ones({4, 4}), owner),
              ThrowsMessage<c10::ValueError>(HasSubstr("owner must be [4] int64, got [3]")));
  EXPECT_THAT(call(torch::ones({2, 4}), torch::ones({3, 4}), owner + 2),
              ThrowsMessage<c10::ValueError>(HasSubstr("images 0 to 1, got 2 to 2")));
  EXPECT_THAT(call(torch::full({2, 4}, std::nan("")), torch::ones({3, 4}), owner),
              ThrowsMessage<c10::ValueError>(HasSubstr("must be finite")));
}

TEST(TopK, SortsEachRow) {
  torch::manual_seed(1);
  const auto queries = unit(5, 8), candidates = unit(40, 8);
  const auto expected = std::get<1>(queries.mm(candidates.t()).topk(7, 1));
  EXPECT_TRUE(torch::equal(weft::eval::top_k(queries, candidates, 7), expected));
  EXPECT_EQ(weft::eval::top_k(queries, candidates, 99).size(1), 40);
}

TEST(Accuracy, CountsTheFirstOfTheHighest) {
  const auto scores = torch::tensor({{1.0, 2.0, 2.0}, {3.0, 1.0, 0.0}, {0.0, 0.0, 1.0}});
  EXPECT_NEAR(weft::eval::top1_accuracy(scores, torch::tensor({1, 0, 0})), 2.0 / 3, 1e-12);
  EXPECT_NEAR(weft::eval::top1_accuracy(scores, torch::tensor({2, 0, 2})), 2.0 / 3, 1e-12);
  const auto image = torch::eye(3), right = torch::eye(3);
  auto wrong = torch::zeros({3, 3});
  wrong[0][0] = 1.0;  // equal to the right one
  EXPECT_NEAR(weft::eval::pair_accuracy(image, right, wrong), 2.0 / 3, 1e-12);
}

}  // namespace retrieval_test
