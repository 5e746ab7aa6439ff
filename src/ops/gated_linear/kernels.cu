#include <algorithm>

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include "ops/gated_linear/kernels.hpp"

namespace weft::ops::cuda {
namespace {

template <uint32_t kVector, GateActivation kActivation, bool kBackward, class T>
__global__ void __launch_bounds__(kGatedThreads) gate_elements(const GatedWork<T> work) {
  const auto thread = static_cast<int64_t>(blockIdx.x) * kGatedThreads + threadIdx.x;
  gate_share<kVector, kActivation, kBackward>(work, thread,
                                              static_cast<int64_t>(gridDim.x) * kGatedThreads);
}

}  // namespace

template <class T>
void launch_gated(const GatedWork<T>& work, CUstream_st* stream) {
  with_gated_case(work, [&](auto vector, auto activation, auto backward) {
    constexpr uint32_t kVector = decltype(vector)::value;
    constexpr GateActivation kActivation = decltype(activation)::value;
    constexpr bool kBackward = decltype(backward)::value;
    constexpr int64_t kPerBlock = int64_t{kGatedThreads} * kVector;
    const auto blocks = static_cast<uint32_t>(
        std::min<int64_t>((work.count + kPerBlock - 1) / kPerBlock, (int64_t{1} << 31) - 1));
    gate_elements<kVector, kActivation, kBackward><<<blocks, kGatedThreads, 0, stream>>>(work);
  });
}

#define WEFT_GATED(T) template void launch_gated(const GatedWork<T>&, CUstream_st*);
WEFT_GATED(float)
WEFT_GATED(c10::Half)
WEFT_GATED(c10::BFloat16)
WEFT_GATED(double)
#undef WEFT_GATED

}  // namespace weft::ops::cuda
