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

}  // namespace weft::ops::kernels
