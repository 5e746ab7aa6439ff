#include <cmath>
#include <numbers>

#include <c10/util/Exception.h>

#include <weft/train/schedule.hpp>

namespace weft::train {

double learning_rate(Schedule schedule, int64_t step, int64_t total, int64_t warmup, double peak) {
  TORCH_CHECK_VALUE(step >= 0 && total >= 0 && warmup >= 0,
                    "learning_rate: step, total and warmup must not be negative, got ", step, ", ",
                    total, " and ", warmup);
  if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
  if (schedule == Schedule::constant) return peak;
  if (step >= total) return 0;
  const auto progress = static_cast<double>(step - warmup) / static_cast<double>(total - warmup);
  if (schedule == Schedule::linear) return peak * (1 - progress);
  return peak * 0.5 * (1 + std::cos(std::numbers::pi * progress));
}

}  // namespace weft::train
