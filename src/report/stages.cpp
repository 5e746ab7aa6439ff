#include <cmath>

#include <weft/report/stages.hpp>

namespace weft::report {

void Stages::lap(const std::string& stage) {
  const auto now = Clock::now();
  const double elapsed = std::chrono::duration<double>(now - last_).count();
  last_ = now;
  for (auto& [name, seconds] : seconds_) {
    if (name == stage) {
      seconds += elapsed;
      return;
    }
  }
  seconds_.emplace_back(stage, elapsed);
}

double Stages::total() const {
  double sum = 0;
  for (const auto& [name, seconds] : seconds_) sum += seconds;
  return sum;
}

Json Stages::json() const {
  auto out = Json::object();
  for (const auto& [name, seconds] : seconds_) out.set(name, std::round(seconds * 100) / 100);
  return out;
}

}  // namespace weft::report
