#include <algorithm>
#include <cmath>

#include <torch/nn/functional/normalization.h>
#include <torch/types.h>

#include <weft/report/embeddings.hpp>
#include <weft/report/heat_map.hpp>
#include <weft/report/svg_plot.hpp>

#include "support/gmock.hpp"
#include "support/tensors.hpp"

namespace figures_test {

using namespace weft::test;
using weft::report::heat_map;

static int64_t count_of(const std::string& text, const std::string& part) {
  int64_t count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(HeatMap, ColoursFromTheSmallestToTheLargestValue) {
  const auto svg = heat_map({{0, 1, 2}, {4, NAN, 3}}, {"r<0>", "r1"}, {"a", "b & c", "d"},
                            {.title = "t \"x\"", .row_label = "rows", .cell = 10, .margin = 50});
  EXPECT_EQ(count_of(svg, "<rect "), 7);  // background and cells
  // The five colours of the scale stand at 0, 1, 2, 3 and 4.
  for (const auto* cell :
       {"fill=\"#440154\"><title>r&lt;0&gt; | a: 0</title>",
        "fill=\"#3b528b\"><title>r&lt;0&gt; | b &amp; c: 1</title>",
        "fill=\"#21918c\"><title>r&lt;0&gt; | d: 2</title>",
        "fill=\"#5ec962\"><title>r1 | d: 3</title>", "fill=\"#fde725\"><title>r1 | a: 4</title>",
        "fill=\"#bbb\"><title>r1 | b &amp; c: nan</title>", "t &quot;x&quot;",
        "<rect x=\"60\" y=\"88\" width=\"10\" height=\"10\" fill=\"#bbb\">"})
    EXPECT_THAT(svg, HasSubstr(cell));
  EXPECT_THAT(svg, Not(HasSubstr("r<0>")));
  EXPECT_THAT(heat_map({{0.5}}, {"r"}, {"c"}, {.low = 0, .high = 1}), HasSubstr("#21918c"));
}

TEST(HeatMap, RefusesSizesThatDiffer) {
  EXPECT_THAT(
      [] {
        heat_map({{1}}, {"a", "b"}, {"c"}, {.title = "t"});
      },
      ThrowsMessage<weft::Error>(HasSubstr("'t': 1 rows have 2 names")));
  EXPECT_THAT(
      [] {
        heat_map({{1, 2}}, {"a"}, {"c"}, {.title = "t"});
      },
      ThrowsMessage<weft::Error>(HasSubstr("a row of 2 values, but 1 columns")));
}

TEST(ScatterPlot, DrawsAPointForEachPair) {
  using weft::report::scatter_plot;
  const auto svg = scatter_plot({{"a <b>", {0, 1, 2}, {0, NAN, 4}}, {"", {1}, {2}}},
                                {.title = "t", .width = 176, .height = 174});
  EXPECT_EQ(count_of(svg, "<circle "), 3);
  // The frame is 100 x 100 pixels, its origin at (62, 130).
  for (const auto* point : {"cx=\"62.0\" cy=\"130.0\"", "cx=\"162.0\" cy=\"30.0\"",
                            "cx=\"112.0\" cy=\"80.0\"", "a &lt;b&gt;"})
    EXPECT_THAT(svg, HasSubstr(point));
  weft::report::Series many{"m", {}, {}};
  for (int i = 0; i < 5000; ++i) many.x.push_back(i), many.y.push_back(i);
  EXPECT_EQ(count_of(scatter_plot({many}, {}), "<circle "), 1000);
}

TEST(LinePlot, DrawsABandAroundALineThatHasOne) {
  using weft::report::line_plot;
  // From 0 to 10 in both directions on a frame of 100 x 100 pixels, its origin at (62, 130).
  const auto svg = line_plot({{"a", {0, 10}, {1, 9}, {1, 1}}, {"b", {0, 10}, {5, 5}}},
                             {.width = 176, .height = 174});
  EXPECT_THAT(svg, HasSubstr("d=\"M62.0 110.0L162.0 30.0L162.0 50.0L62.0 130.0Z\""));
  EXPECT_EQ(count_of(svg, "Z\""), 1);
  EXPECT_THAT(svg, HasSubstr("d=\"M62.0 120.0L162.0 40.0\" fill=\"none\""));
  // On a logarithmic axis a band that reaches 0 is left out there, its line is not.
  const auto log = line_plot({{"", {0, 1, 2}, {10, 10, 10}, {9, 10, 9}}}, {.log_y = true});
  EXPECT_EQ(count_of(log, "Z"), 2);
  // A band is thinned with its line.
  weft::report::Series many{"m", {}, {}, {}};
  for (int i = 0; i < 5000; ++i) many.x.push_back(i), many.y.push_back(0), many.spread.push_back(1);
  const auto thin = line_plot({many}, {});
  EXPECT_EQ(count_of(thin.substr(0, thin.find("Z\"")), "L"), 1999);
}

TEST(BarPlot, DrawsBarsFromZeroWithWhiskers) {
  using weft::report::bar_plot;
  // 100 pixels for -2 to 8, so that 0 is at 190 + 20.
  const auto svg = bar_plot({{"a <b>", 6, 2}, {"b", -2, 0, 1}, {"none", NAN}},
                            {.title = "t & u", .x_label = "x", .width = 346});
  EXPECT_EQ(count_of(svg, "<rect "), 3);  // background and two bars
  for (const auto* part :
       {"<rect x=\"210.0\" y=\"33\" width=\"60.0\" height=\"14\" fill=\"#1f77b4\"",
        "<rect x=\"190.0\" y=\"53\" width=\"20.0\" height=\"14\" fill=\"#d62728\"",
        "x1=\"250.0\" x2=\"290.0\"", "a &lt;b&gt;: 6</title>", "t &amp; u", ">none<"})
    EXPECT_THAT(svg, HasSubstr(part));
  EXPECT_EQ(count_of(svg, "stroke=\"black\""), 1);
}

TEST(Pca, FindsTheAxesOfAnEllipse) {
  // Points on two orthogonal axes: (1, 1)/sqrt 2 with deviation 3, (1, -1)/sqrt 2 with 1.
  const auto r = std::sqrt(0.5);
  const auto axes = torch::tensor({{r, r}, {r, -r}}, torch::kDouble);
  const auto weights =
      torch::tensor({{3.0, 0.0}, {-3.0, 0.0}, {0.0, 1.0}, {0.0, -1.0}}, torch::kDouble);
  const auto rows = weights.mm(axes) + torch::tensor({5.0, -2.0}, torch::kDouble);
  const auto pca = weft::report::pca(rows, 5);
  EXPECT_TRUE(close(pca.mean, torch::tensor({5.0, -2.0}), 1e-12));
  EXPECT_TRUE(close(pca.variance, torch::tensor({18.0 / 3, 2.0 / 3}, torch::kDouble), 1e-12));
  EXPECT_NEAR(pca.total, 20.0 / 3, 1e-12);
  EXPECT_TRUE(close(pca.components[0], axes[0], 1e-12));
  EXPECT_TRUE(close(pca.project(rows).abs(), weights.abs(), 1e-12));
}

TEST(Pca, EqualsTheSingularValues) {
  torch::manual_seed(0);
  const auto rows = torch::randn({40, 9}, torch::kDouble);
  const auto pca = weft::report::pca(rows, 3);
  const auto [u, s, vh] = at::linalg_svd(rows - rows.mean(0), false);
  EXPECT_TRUE(close(pca.variance, s.narrow(0, 0, 3).square() / 39, 1e-10));
  EXPECT_TRUE(close(pca.components.mm(vh.narrow(0, 0, 3).t()).abs(), torch::eye(3), 1e-8));
  const auto largest = pca.components.gather(1, pca.components.abs().argmax(1, true));
  EXPECT_TRUE((largest > 0).all().item<bool>());
  EXPECT_THAT(
      [] {
        weft::report::pca(torch::ones({1, 3}));
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("got [1, 3]")));
}

TEST(ModalityGap, IsTheDistanceOfTheMeans) {
  const auto image = torch::tensor({{1.0, 0.0}, {0.0, 1.0}}), text = torch::tensor({{-1.0, 0.0}});
  EXPECT_NEAR(weft::report::modality_gap(image, text), std::sqrt(1.5 * 1.5 + 0.25), 1e-6);
  EXPECT_EQ(weft::report::modality_gap(image, image), 0);
  EXPECT_THAT(
      [&] {
        weft::report::modality_gap(image, torch::ones({1, 3}));
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("got [2, 2] and [1, 3]")));
}

TEST(Alignment, IsTheMeanPowerOfTheDistance) {
  using weft::report::alignment;
  const auto a = torch::tensor({{1.0, 0.0}, {0.0, 1.0}}),
             b = torch::tensor({{1.0, 0.0}, {1.0, 0.0}});
  EXPECT_NEAR(alignment(a, b), (0 + 2.0) / 2, 1e-12);
  EXPECT_NEAR(alignment(a, b, 1), std::sqrt(2.0) / 2, 1e-12);
  EXPECT_EQ(alignment(a, a), 0);
  EXPECT_THAT(
      [&] {
        alignment(a, torch::ones({1, 2}));
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("got [2, 2] and [1, 2]")));
}

TEST(Uniformity, IsTheLogMeanKernelOfAllPairs) {
  using weft::report::uniformity;
  const auto opposite = torch::tensor({{1.0, 0.0}, {-1.0, 0.0}});
  EXPECT_NEAR(uniformity(opposite), -2 * 4, 1e-12);
  EXPECT_NEAR(uniformity(torch::ones({3, 2})), 0, 1e-12);
  // More rows than one block, against torch's distances of all pairs.
  torch::manual_seed(1);
  const auto rows = torch::nn::functional::normalize(torch::randn({300, 5}, torch::kDouble));
  const auto expected = torch::pdist(rows).pow(2).mul(-3).exp().mean().log().item<double>();
  EXPECT_NEAR(uniformity(rows, 3), expected, 1e-10);
  EXPECT_THAT(
      [] {
        uniformity(torch::ones({1, 2}));
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("got [1, 2]")));
}

TEST(MeanCosine, IsThatOfAllPairsOfDifferentRows) {
  torch::manual_seed(2);
  const auto rows = torch::nn::functional::normalize(torch::randn({7, 4}, torch::kDouble));
  double sum = 0;
  for (int i = 0; i < 7; ++i)
    for (int j = 0; j < 7; ++j)
      if (i != j) sum += rows[i].dot(rows[j]).item<double>();
  EXPECT_NEAR(weft::report::mean_cosine(rows), sum / 42, 1e-12);
  EXPECT_THAT([] { weft::report::mean_cosine(torch::ones({3})); },
              ThrowsMessage<c10::ValueError>(HasSubstr("got [3]")));
}

}  // namespace figures_test
