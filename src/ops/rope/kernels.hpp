#pragma once

#include <cstdint>
#include <type_traits>

#include "ops/divisor.hpp"
#include "ops/pack.hpp"

struct CUstream_st;

// Free of torch and of CUDA's headers: kernels.cu runs these functions on the device, the tests run
// them on the CPU.
namespace weft::ops::cuda {

/// x and out [B, H, T, D], elements of a head side by side; cos, sin [B or 1, T, pairs],
/// contiguous. Strides in elements.
template <class T, class Real>
struct RopeWork {
  const T* x = nullptr;
  T* out = nullptr;
  const Real *cos = nullptr, *sin = nullptr;
  int64_t batch = 0, heads = 0, tokens = 0, width = 0, pairs = 0;
  int64_t x_strides[3] = {0, 0, 0}, out_strides[3] = {0, 0, 0};  // of B, H and T
  int64_t table_batch_stride = 0;                                // 0: one table for all
  bool interleaved = false, inverse = false;
};

constexpr uint32_t kRopeThreads = 256;

/// How a token's heads are cut: into `per_head` pieces, of which the first `rotated` turn and the
/// others are copied. A piece has `vector` elements; in the half layout one that turns has as many
/// again, R / 2 away. Interleaved pairs stay whole where `vector` is 1.
struct RopeCut {
  uint32_t vector = 1, rotated = 0;
  Divisor per_head;
};

/// The widest pieces that sizes, strides and alignment allow: 16 bytes, or single elements.
template <class T, class Real>
RopeCut make_rope_cut(const RopeWork<T, Real>& work) {
  constexpr int64_t kWidest = 16 / sizeof(T);
  bool wide =
      work.width % kWidest == 0 && (work.interleaved ? 2 * work.pairs : work.pairs) % kWidest == 0;
  for (int i = 0; i < 3; ++i)
    wide = wide && work.x_strides[i] % kWidest == 0 && work.out_strides[i] % kWidest == 0;
  const void* const addresses[] = {work.x, work.out, work.cos, work.sin};
  for (const auto* address : addresses)
    wide = wide && reinterpret_cast<uint64_t>(address) % 16 == 0;
  RopeCut cut;
  cut.vector = wide ? kWidest : 1;
  const auto elements = work.interleaved ? 2 * work.pairs : work.pairs;
  cut.rotated = static_cast<uint32_t>(elements / (wide ? kWidest : work.interleaved ? 2 : 1));
  const auto rest = (work.width - 2 * work.pairs) / cut.vector;
  cut.per_head = Divisor(cut.rotated + static_cast<uint32_t>(rest));
  return cut;
}

/// Piece `item` of the heads of token t in sequence b; items [0, heads * cut.per_head).
template <uint32_t kVector, bool kInterleaved, class T, class Real>
WEFT_HOST_DEVICE void rotate_piece(const RopeWork<T, Real>& work, const RopeCut& cut, int64_t b,
                                   int64_t t, uint32_t item) {
  constexpr uint32_t kPairs = kInterleaved && kVector > 1 ? kVector / 2 : kVector;
  const auto head = cut.per_head.quotient(item);
  const auto piece = item - head * cut.per_head.divisor();
  const auto* x = work.x + b * work.x_strides[0] + head * work.x_strides[1] + t * work.x_strides[2];
  auto* out =
      work.out + b * work.out_strides[0] + head * work.out_strides[1] + t * work.out_strides[2];
  if (piece >= cut.rotated) {
    const auto i = 2 * work.pairs + static_cast<int64_t>(piece - cut.rotated) * kVector;
    store_pack(load_pack<kVector>(x + i), out + i);
    return;
  }
  const auto pair = static_cast<int64_t>(piece) * kPairs;
  const auto table = b * work.table_batch_stride + t * work.pairs + pair;
  constexpr uint32_t kStep = kPairs * sizeof(Real) <= 16 ? kPairs : 16 / sizeof(Real);
  Real cos[kPairs], sin[kPairs];
  for (uint32_t i = 0; i < kPairs; i += kStep) {
    const auto c = load_pack<kStep>(work.cos + table + i);
    const auto s = load_pack<kStep>(work.sin + table + i);
    for (uint32_t j = 0; j < kStep; ++j) {
      cos[i + j] = c.value[j];
      sin[i + j] = work.inverse ? -s.value[j] : s.value[j];
    }
  }
  const auto turn = [&](uint32_t i, T& first, T& second) {
    const auto p = static_cast<Real>(first), q = static_cast<Real>(second);
    first = static_cast<T>(p * cos[i] - q * sin[i]);
    second = static_cast<T>(q * cos[i] + p * sin[i]);
  };
  if constexpr (kInterleaved && kVector > 1) {
    auto pack = load_pack<kVector>(x + 2 * pair);
    for (uint32_t i = 0; i < kPairs; ++i) turn(i, pack.value[2 * i], pack.value[2 * i + 1]);
    store_pack(pack, out + 2 * pair);
  } else {
    const auto low = kInterleaved ? 2 * pair : pair;
    const auto high = kInterleaved ? low + 1 : low + work.pairs;
    auto first = load_pack<kVector>(x + low), second = load_pack<kVector>(x + high);
    for (uint32_t i = 0; i < kPairs; ++i) turn(i, first.value[i], second.value[i]);
    store_pack(first, out + low);
    store_pack(second, out + high);
  }
}

/// Calls f with the cut's width and the layout as constants.
template <class T, class Real, class F>
void with_rope_cut(const RopeWork<T, Real>& work, const RopeCut& cut, const F& f) {
  const auto with_layout = [&](auto vector) {
    if (work.interleaved)
      f(vector, std::true_type());
    else
      f(vector, std::false_type());
  };
  constexpr uint32_t kWidest = 16 / sizeof(T);
  if (cut.vector == kWidest)
    with_layout(std::integral_constant<uint32_t, kWidest>());
  else
    with_layout(std::integral_constant<uint32_t, 1>());
}

/// Launches the kernel on the current device; errors are left to cudaGetLastError. Compiled for
/// <float, float>, <Half, float>, <BFloat16, float> and <double, double>.
template <class T, class Real>
void launch_rope(const RopeWork<T, Real>& work, CUstream_st* stream);

}  // namespace weft::ops::cuda
