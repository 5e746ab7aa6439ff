#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/core/json.hpp>

namespace weft::report {

/// Seconds by stage, in the order in which stages began. lap() gives the time since the last lap to
/// a stage, so that the stages add up to the whole.
class WEFT_API Stages {
 public:
  Stages() : last_(Clock::now()) {}
  void lap(const std::string& stage);
  double total() const;
  /// {stage: seconds}, to a hundredth.
  Json json() const;

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point last_;
  std::vector<std::pair<std::string, double>> seconds_;
};

}  // namespace weft::report
