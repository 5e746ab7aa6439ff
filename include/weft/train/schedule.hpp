#pragma once

#include <cstdint>
#include <string_view>

#include <weft/core/export.hpp>
#include <weft/core/options.hpp>

namespace weft {
namespace train {

enum class Schedule { constant, linear, cosine };

/// The learning rate of step `step`, counted from 0, of `total`, as open_clip's scheduler.py
/// counts:
///   warm-up, step < warmup:  peak (step + 1) / warmup   (the first step is peak / warmup, not 0)
///   after it, with t = (step - warmup) / (total - warmup):
///   constant  peak
///   linear    peak (1 - t)                              (the last step is not 0 yet)
///   cosine    peak (1 + cos(pi t)) / 2
/// Without warm-up step 0 has the peak itself. From `total` on linear and cosine give 0.
/// Throws c10::ValueError for a negative step, total or warmup.
WEFT_API double learning_rate(Schedule schedule, int64_t step, int64_t total, int64_t warmup,
                              double peak);

}  // namespace train

template <>
inline constexpr std::string_view enum_names<train::Schedule>[] = {"constant", "linear", "cosine"};

}  // namespace weft
