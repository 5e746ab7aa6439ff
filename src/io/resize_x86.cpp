#if defined(__x86_64__)

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include <immintrin.h>

#include "io/resize_kernels.hpp"

// Products of bytes and coefficients of up to 24 bits, exact modulo 2^32: a coefficient is split
// into digits that fit the multiply-add instructions, and the sums of the digits are put together
// at the end. AVX2 has 16-bit digits (k = 2^15 high + low) and pairs of taps; AVX-512 VNNI has
// balanced 8-bit digits (k = 2^16 a + 2^8 b + c) and four taps at once.
namespace weft::io {
namespace {

constexpr int32_t kHalf = 1 << (kPrecisionBits - 1);

int32_t pair(int32_t low, int32_t high) {
  return static_cast<int32_t>((static_cast<uint32_t>(low) & 0xffff) | static_cast<uint32_t>(high)
                                                                          << 16);
}

namespace avx2 {

constexpr int kWords = 4;  // low and high digits of taps 0 and 1, then of taps 2 and 3

void pack(const int32_t* k, int32_t* words) {
  for (int i = 0; i < 2; ++i) {
    words[2 * i] = pair(k[2 * i] & 0x7fff, k[2 * i + 1] & 0x7fff);
    words[2 * i + 1] = pair(k[2 * i] >> 15, k[2 * i + 1] >> 15);
  }
}

__attribute__((target("avx2"))) inline __m256i join(__m256i low, __m256i high) {
  const __m256i sum = _mm256_add_epi32(low, _mm256_slli_epi32(high, 15));
  return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(kHalf)), kPrecisionBits);
}

__attribute__((target("avx2"))) inline __m256i two_rows(const uint8_t* a, const uint8_t* b) {
  return _mm256_inserti128_si256(
      _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a))),
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(b)), 1);
}

__attribute__((target("avx2"))) void horizontal(const uint8_t* const* rows, const Axis& axis,
                                                uint8_t* const* out) {
  // 16-bit R0 R1 G0 G1 B0 B1 - - of the first and of the second pair of pixels.
  const __m256i first_pair = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
  const __m256i second_pair = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1));
  for (int64_t x = 0; x < axis.out; ++x) {
    const int32_t* k = axis.packed.data() + x * (axis.row / 4 * kWords);
    const int32_t taps = axis.taps[static_cast<size_t>(x)];
    const int64_t start = 3 * int64_t{axis.first[static_cast<size_t>(x)]};
    __m256i low_a = _mm256_setzero_si256(), high_a = low_a, low_b = low_a, high_b = low_a;
    for (int64_t t = 0; t < taps; t += 4, k += kWords) {
      const int64_t at = start + 3 * t;
      const __m256i a = two_rows(rows[0] + at, rows[1] + at);
      const __m256i b = two_rows(rows[2] + at, rows[3] + at);
      const __m256i k0 = _mm256_set1_epi32(k[0]), k1 = _mm256_set1_epi32(k[1]);
      const __m256i k2 = _mm256_set1_epi32(k[2]), k3 = _mm256_set1_epi32(k[3]);
      const __m256i a0 = _mm256_shuffle_epi8(a, first_pair);
      const __m256i a1 = _mm256_shuffle_epi8(a, second_pair);
      const __m256i b0 = _mm256_shuffle_epi8(b, first_pair);
      const __m256i b1 = _mm256_shuffle_epi8(b, second_pair);
      low_a = _mm256_add_epi32(
          low_a, _mm256_add_epi32(_mm256_madd_epi16(a0, k0), _mm256_madd_epi16(a1, k2)));
      high_a = _mm256_add_epi32(
          high_a, _mm256_add_epi32(_mm256_madd_epi16(a0, k1), _mm256_madd_epi16(a1, k3)));
      low_b = _mm256_add_epi32(
          low_b, _mm256_add_epi32(_mm256_madd_epi16(b0, k0), _mm256_madd_epi16(b1, k2)));
      high_b = _mm256_add_epi32(
          high_b, _mm256_add_epi32(_mm256_madd_epi16(b0, k1), _mm256_madd_epi16(b1, k3)));
    }
    const __m256i words = _mm256_packs_epi32(join(low_a, high_a), join(low_b, high_b));
    const __m256i pixels = _mm256_packus_epi16(words, words);  // rows 0, 2 | rows 1, 3
    alignas(32) uint32_t rgb[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(rgb), pixels);
    std::memcpy(out[0] + 3 * x, rgb, 4);
    std::memcpy(out[1] + 3 * x, rgb + 4, 4);
    std::memcpy(out[2] + 3 * x, rgb + 1, 4);
    std::memcpy(out[3] + 3 * x, rgb + 5, 4);
  }
}

/// 32 columns at `in` of output row y.
__attribute__((target("avx2"))) inline void column_block(const uint8_t* in, size_t stride,
                                                         const int32_t* k, int32_t taps,
                                                         uint8_t* out) {
  const __m256i zero = _mm256_setzero_si256();
  __m256i low[4] = {zero, zero, zero, zero}, high[4] = {zero, zero, zero, zero};
  for (int32_t t = 0; t < taps; t += 2, k += 2) {
    const uint8_t* row = in + stride * static_cast<size_t>(t);
    // An odd last tap is paired with itself; its second coefficient is zero.
    const uint8_t* next = t + 1 < taps ? row + stride : row;
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(next));
    const __m256i ab_low = _mm256_unpacklo_epi8(a, b), ab_high = _mm256_unpackhi_epi8(a, b);
    const __m256i pairs[4] = {
        _mm256_unpacklo_epi8(ab_low, zero), _mm256_unpackhi_epi8(ab_low, zero),
        _mm256_unpacklo_epi8(ab_high, zero), _mm256_unpackhi_epi8(ab_high, zero)};
    const __m256i k0 = _mm256_set1_epi32(k[0]), k1 = _mm256_set1_epi32(k[1]);
    for (int i = 0; i < 4; ++i) {
      low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(pairs[i], k0));
      high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(pairs[i], k1));
    }
  }
  const __m256i words_low = _mm256_packs_epi32(join(low[0], high[0]), join(low[1], high[1]));
  const __m256i words_high = _mm256_packs_epi32(join(low[2], high[2]), join(low[3], high[3]));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_packus_epi16(words_low, words_high));
}

__attribute__((target("avx2"))) void vertical(const uint8_t* in, size_t stride, size_t bytes,
                                              const Axis& axis, int64_t y, uint8_t* out) {
  constexpr size_t kBlock = 32;
  if (bytes < kBlock) return portable_resize_kernels().vertical(in, stride, bytes, axis, y, out);
  const int32_t* k = axis.packed.data() + y * (axis.row / 4 * kWords);
  const int32_t taps = axis.taps[static_cast<size_t>(y)];
  in += stride * static_cast<size_t>(axis.first[static_cast<size_t>(y)]);
  for (size_t x = 0; x < bytes; x += kBlock) {
    // The last block overlaps the one before it.
    const size_t at = std::min(x, bytes - kBlock);
    column_block(in + at, stride, k, taps, out + at);
  }
}

constexpr ResizeKernels kKernels{.horizontal = horizontal,
                                 .vertical = vertical,
                                 .pack = pack,
                                 .words = kWords,
                                 .max_coefficient = 1 << 29};

}  // namespace avx2

namespace avx512 {

constexpr int kWords = 3;  // the digits c, b and a of four taps

void pack(const int32_t* k, int32_t* words) {
  std::array<std::array<int8_t, 4>, kWords> digits;
  for (size_t t = 0; t < 4; ++t) {
    int32_t rest = k[t];
    for (auto& digit : digits) {
      digit[t] = static_cast<int8_t>(rest);
      rest = (rest - digit[t]) >> 8;
    }
  }
  std::memcpy(words, digits.data(), sizeof(digits));
}

#define WEFT_AVX512 __attribute__((target("avx512f,avx512bw,avx512vnni")))

WEFT_AVX512 inline __m512i join(const __m512i* digits) {
  const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(digits[0], _mm512_slli_epi32(digits[1], 8)),
                                       _mm512_slli_epi32(digits[2], 16));
  return _mm512_srai_epi32(sum, kPrecisionBits);
}

WEFT_AVX512 inline __m512i four_rows(const uint8_t* const* rows, int64_t at) {
  const auto load = [&](int r) WEFT_AVX512 {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[r] + at));
  };
  __m512i all = _mm512_castsi128_si512(load(0));
  all = _mm512_inserti32x4(all, load(1), 1);
  all = _mm512_inserti32x4(all, load(2), 2);
  return _mm512_inserti32x4(all, load(3), 3);
}

WEFT_AVX512 void horizontal(const uint8_t* const* rows, const Axis& axis, uint8_t* const* out) {
  // R0 R1 R2 R3 G0 .. G3 B0 .. B3 - - - - of four pixels, one row a lane.
  const __m512i planes =
      _mm512_broadcast_i32x4(_mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1));
  for (int64_t x = 0; x < axis.out; ++x) {
    const int32_t* k = axis.packed.data() + x * (axis.row / 4 * kWords);
    const int32_t taps = axis.taps[static_cast<size_t>(x)];
    const int64_t start = 3 * int64_t{axis.first[static_cast<size_t>(x)]};
    __m512i sums[kWords] = {_mm512_set1_epi32(kHalf), _mm512_setzero_si512(),
                            _mm512_setzero_si512()};
    for (int64_t t = 0; t < taps; t += 4, k += kWords) {
      const __m512i pixels = _mm512_shuffle_epi8(four_rows(rows, start + 3 * t), planes);
      for (int d = 0; d < kWords; ++d)
        sums[d] = _mm512_dpbusd_epi32(sums[d], pixels, _mm512_set1_epi32(k[d]));
    }
    const __m512i words = _mm512_max_epi32(join(sums), _mm512_setzero_si512());
    const __m128i rgb = _mm512_cvtusepi32_epi8(words);  // four bytes a row
    const int32_t rows_of_rgb[] = {_mm_extract_epi32(rgb, 0), _mm_extract_epi32(rgb, 1),
                                   _mm_extract_epi32(rgb, 2), _mm_extract_epi32(rgb, 3)};
    std::memcpy(out[0] + 3 * x, &rows_of_rgb[0], 4);
    std::memcpy(out[1] + 3 * x, &rows_of_rgb[1], 4);
    std::memcpy(out[2] + 3 * x, &rows_of_rgb[2], 4);
    std::memcpy(out[3] + 3 * x, &rows_of_rgb[3], 4);
  }
}

WEFT_AVX512 void vertical(const uint8_t* in, size_t stride, size_t bytes, const Axis& axis,
                          int64_t y, uint8_t* out) {
  constexpr size_t kBlock = 64;
  const int32_t taps = axis.taps[static_cast<size_t>(y)];
  in += stride * static_cast<size_t>(axis.first[static_cast<size_t>(y)]);
  // Behind the last tap the coefficients are zero, so any row will do.
  size_t whole[4], rest[4];
  for (int i = 0; i < 4; ++i) {
    whole[i] = stride * static_cast<size_t>(i);
    rest[i] = stride * static_cast<size_t>(std::min(i, (taps - 1) % 4));
  }
  for (size_t x = 0; x < bytes; x += kBlock) {
    const size_t count = std::min(kBlock, bytes - x);
    const __mmask64 mask = count == kBlock ? ~__mmask64{0} : (__mmask64{1} << count) - 1;
    const int32_t* k = axis.packed.data() + y * (axis.row / 4 * kWords);
    const uint8_t* from = in + x;
    __m512i sums[4][kWords];
    for (auto& sum : sums) {
      sum[0] = _mm512_set1_epi32(kHalf);
      sum[1] = sum[2] = _mm512_setzero_si512();
    }
    for (int32_t t = 0; t < taps; t += 4, k += kWords) {
      const size_t* offsets = t + 4 <= taps ? whole : rest;
      __m512i rows[4];
      for (int i = 0; i < 4; ++i) rows[i] = _mm512_maskz_loadu_epi8(mask, from + offsets[i]);
      from += 4 * stride;
      const __m512i low01 = _mm512_unpacklo_epi8(rows[0], rows[1]);
      const __m512i high01 = _mm512_unpackhi_epi8(rows[0], rows[1]);
      const __m512i low23 = _mm512_unpacklo_epi8(rows[2], rows[3]);
      const __m512i high23 = _mm512_unpackhi_epi8(rows[2], rows[3]);
      const __m512i columns[4] = {
          _mm512_unpacklo_epi16(low01, low23), _mm512_unpackhi_epi16(low01, low23),
          _mm512_unpacklo_epi16(high01, high23), _mm512_unpackhi_epi16(high01, high23)};
      for (int d = 0; d < kWords; ++d) {
        const __m512i digits = _mm512_set1_epi32(k[d]);
        for (int i = 0; i < 4; ++i)
          sums[i][d] = _mm512_dpbusd_epi32(sums[i][d], columns[i], digits);
      }
    }
    const __m512i low = _mm512_packs_epi32(join(sums[0]), join(sums[1]));
    const __m512i high = _mm512_packs_epi32(join(sums[2]), join(sums[3]));
    _mm512_mask_storeu_epi8(out + x, mask, _mm512_packus_epi16(low, high));
  }
}

#undef WEFT_AVX512

// Three balanced digits reach 2^23 less the carries of the lower two.
constexpr ResizeKernels kKernels{.horizontal = horizontal,
                                 .vertical = vertical,
                                 .pack = pack,
                                 .words = kWords,
                                 .max_coefficient = (1 << 23) - (1 << 16)};

}  // namespace avx512
}  // namespace

std::span<const ResizeKernels* const> resize_kernels() {
  static const auto kernels = [] {
    std::vector<const ResizeKernels*> out;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vnni"))
      out.push_back(&avx512::kKernels);
    if (__builtin_cpu_supports("avx2")) out.push_back(&avx2::kKernels);
    out.push_back(&portable_resize_kernels());
    return out;
  }();
  return kernels;
}

}  // namespace weft::io

#endif
