#include <cmath>
#include <numbers>

#include <weft/train/schedule.hpp>

#include "support/gmock.hpp"

namespace schedule_test {

using namespace weft::test;
using weft::train::learning_rate;
using weft::train::Schedule;

TEST(Schedule, LinearFallsFromThePeakToTheLastShareOfIt) {
  for (int64_t step = 0; step < 156; ++step)
    EXPECT_DOUBLE_EQ(learning_rate(Schedule::linear, step, 156, 0, 1e-3),
                     1e-3 * (1 - static_cast<double>(step) / 156));
  EXPECT_EQ(learning_rate(Schedule::linear, 0, 156, 0, 1e-3), 1e-3);
  EXPECT_EQ(learning_rate(Schedule::linear, 156, 156, 0, 1e-3), 0);
}

TEST(Schedule, WarmUpRisesByEqualSharesAndReachesThePeak) {
  for (const auto schedule : {Schedule::constant, Schedule::linear, Schedule::cosine}) {
    EXPECT_DOUBLE_EQ(learning_rate(schedule, 0, 100, 10, 5e-4), 5e-5);
    EXPECT_DOUBLE_EQ(learning_rate(schedule, 4, 100, 10, 5e-4), 2.5e-4);
    EXPECT_DOUBLE_EQ(learning_rate(schedule, 9, 100, 10, 5e-4), 5e-4);
    EXPECT_DOUBLE_EQ(learning_rate(schedule, 10, 100, 10, 5e-4), 5e-4);
  }
}

TEST(Schedule, CosineIsOpenClips) {
  for (int64_t step = 10; step < 100; ++step)
    EXPECT_NEAR(learning_rate(Schedule::cosine, step, 100, 10, 5e-4),
                0.5 * (1 + std::cos(std::numbers::pi * static_cast<double>(step - 10) / 90)) * 5e-4,
                1e-18);
  EXPECT_NEAR(learning_rate(Schedule::cosine, 55, 100, 10, 1.0), 0.5, 1e-15);
  EXPECT_EQ(learning_rate(Schedule::cosine, 200, 100, 10, 1.0), 0);
}

TEST(Schedule, ConstantStays) {
  EXPECT_EQ(learning_rate(Schedule::constant, 0, 10, 0, 0.1), 0.1);
  EXPECT_EQ(learning_rate(Schedule::constant, 1000, 10, 0, 0.1), 0.1);
}

TEST(Schedule, LivesWithAWarmUpOfTheWholeRun) {
  EXPECT_EQ(learning_rate(Schedule::cosine, 9, 10, 10, 1.0), 1.0);
  EXPECT_EQ(learning_rate(Schedule::cosine, 10, 10, 10, 1.0), 0);
}

TEST(Schedule, RefusesNegativeSteps) {
  EXPECT_THAT([] { learning_rate(Schedule::linear, -1, 10, 0, 1.0); },
              ThrowsMessage<c10::ValueError>(HasSubstr("must not be negative, got -1, 10 and 0")));
}

}  // namespace schedule_test
