#include <algorithm>

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include "ops/rope/kernels.hpp"

namespace weft::ops::cuda {
namespace {

/// One block a token: its heads share the token's angles.
template <uint32_t kVector, bool kInterleaved, class T, class Real>
__global__ void __launch_bounds__(kRopeThreads)
    rotate_heads(const RopeWork<T, Real> work, const RopeCut cut) {
  const auto items = static_cast<uint32_t>(work.heads) * cut.per_head.divisor();
  const auto tokens = work.batch * work.tokens;
  for (int64_t i = blockIdx.x; i < tokens; i += gridDim.x) {
    const auto b = i / work.tokens, t = i - b * work.tokens;
    for (auto item = threadIdx.x; item < items; item += blockDim.x)
      rotate_piece<kVector, kInterleaved>(work, cut, b, t, item);
  }
}

}  // namespace

template <class T, class Real>
void launch_rope(const RopeWork<T, Real>& work, CUstream_st* stream) {
  const auto cut = make_rope_cut(work);
  const auto items = static_cast<uint32_t>(work.heads) * cut.per_head.divisor();
  const auto threads = std::min(kRopeThreads, (items + 31) / 32 * 32);
  const auto blocks =
      static_cast<uint32_t>(std::min<int64_t>(work.batch * work.tokens, (int64_t{1} << 31) - 1));
  with_rope_cut(work, cut, [&](auto vector, auto interleaved) {
    constexpr uint32_t kVector = decltype(vector)::value;
    constexpr bool kInterleaved = decltype(interleaved)::value;
    rotate_heads<kVector, kInterleaved><<<blocks, threads, 0, stream>>>(work, cut);
  });
}

#define WEFT_ROPE(T, Real) template void launch_rope(const RopeWork<T, Real>&, CUstream_st*);
WEFT_ROPE(float, float)
WEFT_ROPE(c10::Half, float)
WEFT_ROPE(c10::BFloat16, float)
WEFT_ROPE(double, double)
#undef WEFT_ROPE

}  // namespace weft::ops::cuda
