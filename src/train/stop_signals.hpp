#pragma once

#include <csignal>

namespace weft::train {

/// While it lives, the first SIGTERM, SIGINT or SIGUSR1 is remembered and a second one ends the
/// process at once with 128 + signal. One at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  int received() const;  ///< 0 = none

 private:
  static constexpr int kSignals[] = {SIGTERM, SIGINT, SIGUSR1};
  struct sigaction previous_[3];
};

}  // namespace weft::train
