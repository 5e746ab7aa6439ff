#pragma once

#include <cstdint>

#include "ops/host_device.hpp"

namespace weft::ops {

/// Division by a number that is known only at run time, as a multiplication and a shift: Granlund
/// and Montgomery, 1994, figure 4.1. For numerators and divisors in [0, 2^31) and [1, 2^31].
class Divisor {
 public:
  Divisor() = default;
  explicit Divisor(uint32_t divisor) : divisor_(divisor) {
    while (shift_ < 31 && (uint32_t{1} << shift_) < divisor) ++shift_;
    const auto power = uint64_t{1} << shift_;
    multiplier_ = static_cast<uint32_t>(((power - divisor) << 32) / divisor + 1);
  }

  WEFT_HOST_DEVICE uint32_t quotient(uint32_t n) const {
    const auto high = static_cast<uint32_t>((static_cast<uint64_t>(n) * multiplier_) >> 32);
    return (high + n) >> shift_;
  }
  WEFT_HOST_DEVICE uint32_t divisor() const { return divisor_; }

 private:
  uint32_t divisor_ = 1, multiplier_ = 1, shift_ = 0;
};

}  // namespace weft::ops
