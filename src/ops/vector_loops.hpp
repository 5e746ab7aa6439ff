#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

// Loops that the compiler vectorises, compiled once per instruction set and chosen at load time.
// Not under sanitizers, whose runtime is not up yet when the choice is made.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define WEFT_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WEFT_CLONES
#endif

// What a function with clones calls must become a part of it.
#define WEFT_INLINE inline __attribute__((always_inline))

// Free of torch: bfloat16 is its bits.
namespace weft::ops::kernels {

WEFT_INLINE double widen(double value) { return value; }
WEFT_INLINE float widen(float value) { return value; }
WEFT_INLINE float widen(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

WEFT_INLINE void narrow(double value, double* out) { *out = value; }
WEFT_INLINE void narrow(float value, float* out) { *out = value; }
WEFT_INLINE void narrow(float value, uint16_t* out) {  // round to nearest even; NaN stays NaN
  const auto word = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (word + 0x7fffu + ((word >> 16) & 1u)) >> 16;
  const uint32_t nan = (word >> 16) | 0x40u;
  *out = static_cast<uint16_t>((word & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

constexpr int64_t kLanes = 32;  // independent sums, so that the compiler may use vectors

/// term(0) + ... + term(n - 1).
template <class Real, class Term>
WEFT_INLINE Real sum(int64_t n, const Term& term) {
  Real lanes[kLanes] = {};
  const int64_t whole = n / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes)
    for (int64_t j = 0; j < kLanes; ++j) lanes[j] += term(i + j);
  for (int64_t i = whole; i < n; ++i) lanes[i - whole] += term(i);
  Real total = 0;
  for (int64_t j = 0; j < kLanes; ++j) total += lanes[j];
  return total;
}

WEFT_INLINE double exponential(double x) { return std::exp(x); }

/// exp(x) for x <= 0 or little above, within 2 units in the last place; 0 below the normal numbers.
/// x = n log(2) + r, and exp(r) - 1 - r = r^2 p(r), p interpolated at Chebyshev's nodes.
WEFT_INLINE float exponential(float x) {
  constexpr float kLowest = -87.33F;
  constexpr float kRound = 12582912.F;  // 1.5 * 2^23: adding it rounds to an integer
  const float bounded = x < kLowest ? kLowest : x;
  const float shifted = bounded * 1.44269504F + kRound;
  const float n = shifted - kRound;
  float r = bounded - n * 0.693359375F;
  r = r + n * 2.12194440e-4F;
  const float p =
      0.5F + r * (0.166665763F + r * (0.0416665561F + r * (0.00836317893F + r * 0.00139261840F)));
  const auto power = std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(kRound) + 127U;
  const float value = (1.F + r + r * r * p) * std::bit_cast<float>(power << 23);
  return x < kLowest ? 0.F : value;
}

}  // namespace weft::ops::kernels
