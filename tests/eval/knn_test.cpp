#include <algorithm>
#include <cmath>
#include <numeric>

#include <torch/types.h>

#include <weft/eval/knn.hpp>

#include "support/gmock.hpp"
#include "support/tensors.hpp"

namespace knn_test {

using namespace weft::test;
using weft::eval::knn_votes;
using weft::eval::KnnOptions;
using weft::eval::KnnVote;

/// The definition, sample by sample.
static torch::Tensor votes_by_hand(const torch::Tensor& queries, const torch::Tensor& train,
                                   const torch::Tensor& labels, int64_t classes,
                                   const KnnOptions& options) {
  auto out = torch::zeros({queries.size(0), classes}, torch::kDouble);
  for (int64_t q = 0; q < queries.size(0); ++q) {
    std::vector<std::pair<double, int64_t>> all;  // (cosine, label)
    for (int64_t i = 0; i < train.size(0); ++i) {
      const auto a = queries[q].to(torch::kDouble), b = train[i].to(torch::kDouble);
      all.emplace_back((a.dot(b) / a.norm() / b.norm()).item<double>(), labels[i].item<int64_t>());
    }
    std::sort(all.rbegin(), all.rend());
    for (int64_t i = 0; i < std::min<int64_t>(options.k, train.size(0)); ++i)
      out[q][all[i].second] += options.vote == KnnVote::majority
                                   ? 1
                                   : std::exp((all[i].first - all[0].first) / options.temperature);
  }
  return out;
}

TEST(Knn, EqualsItsDefinition) {
  torch::manual_seed(0);
  const auto train = torch::randn({60, 9}) * 3, queries = torch::randn({17, 9});
  const auto labels = torch::randint(4, {60}, torch::kLong);
  for (const auto vote : {KnnVote::weighted, KnnVote::majority}) {
    for (const int64_t k : {1, 5, 20, 100}) {
      const KnnOptions options{.k = k, .vote = vote};
      EXPECT_TRUE(close(knn_votes(queries, train, labels, 4, options),
                        votes_by_hand(queries, train, labels, 4, options), 1e-4))
          << k;
    }
  }
}

TEST(Knn, TakesMoreQueriesThanABlockHolds) {
  torch::manual_seed(1);
  const auto train = torch::randn({5000, 4}), queries = torch::randn({2000, 4});
  const auto labels = torch::randint(3, {5000}, torch::kLong);
  const auto whole = knn_votes(queries, train, labels, 3);
  EXPECT_TRUE(close(whole.narrow(0, 1990, 10),
                    knn_votes(queries.narrow(0, 1990, 10), train, labels, 3), 1e-5));
}

TEST(Knn, NamesWhatIsWrong) {
  const auto train = torch::ones({3, 2});
  const auto labels = torch::tensor({0, 1, 2}, torch::kLong);
  EXPECT_THAT(
      [&] {
        knn_votes(torch::ones({1, 3}), train, labels, 3);
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("got [1, 3] and [3, 2]")));
  EXPECT_THAT([&] { knn_votes(train, train, labels, 2); },
              ThrowsMessage<c10::ValueError>(HasSubstr("labels must be 0 to 1, got 0 to 2")));
  EXPECT_THAT([&] { knn_votes(train, train, labels, 3, {.k = 0}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("k must be positive, got 0")));
  EXPECT_THAT([&] { knn_votes(train, train, labels, 3, {.temperature = 0}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("temperature must be positive, got 0")));
  EXPECT_THAT([&] { knn_votes(train * NAN, train, labels, 3); },
              ThrowsMessage<c10::ValueError>(HasSubstr("must be finite")));
}

}  // namespace knn_test
