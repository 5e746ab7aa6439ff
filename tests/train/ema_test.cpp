#include <gmock/gmock.h>

#include <ATen/ATen.h>

#include <weft/train/ema.hpp>

namespace ema_test {

TEST(Ema, FollowsItsDefinition) {
  auto x = at::full({2, 3}, 1.0), y = at::full({4}, -2.0);
  weft::train::Ema ema({{"x", x}, {"y", y}}, 0.9);
  double expected = 1;
  for (int step = 1; step <= 5; ++step) {
    x.fill_(step);
    ema.update();
    expected = 0.9 * expected + 0.1 * step;
  }
  EXPECT_EQ(ema.averages()[0].first, "x");
  EXPECT_TRUE(at::allclose(ema.averages()[0].second, at::full({2, 3}, expected), 1e-6));
  EXPECT_TRUE(at::equal(ema.averages()[1].second, at::full({4}, -2.0)));
  EXPECT_EQ(x[0][0].item<double>(), 5) << "update() reads the parameters only";
  ema.copy_to_parameters();
  EXPECT_TRUE(at::equal(x, ema.averages()[0].second));
}

TEST(Ema, RefusesADecayOutOfRange) {
  for (const double decay : {0.0, 1.0, -0.1})
    EXPECT_THROW(weft::train::Ema({}, decay), c10::ValueError) << decay;
}

}  // namespace ema_test
