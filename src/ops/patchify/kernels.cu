#include <algorithm>

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include "ops/patchify/kernels.hpp"

namespace weft::ops::cuda {
namespace {

template <uint32_t kVector, uint32_t kLoad, class In, class Out>
__global__ void __launch_bounds__(kPatchThreads)
    cut_patches(const PatchCut cut, const In* __restrict__ in, Out* __restrict__ out,
                float offset) {
  const auto tasks = cut.bands * cut.chunks;
  for (int64_t i = blockIdx.x; i < tasks; i += gridDim.x) {
    const auto task = patch_task(cut, i);
    for (auto t = task.begin + threadIdx.x; t < task.end; t += blockDim.x)
      cut_piece<kVector, kLoad>(cut, task, t, in, out, offset);
  }
}

}  // namespace

template <class In, class Out>
void launch_patchify(const PatchCut& cut, const In* in, Out* out, float offset,
                     CUstream_st* stream) {
  const auto blocks =
      static_cast<uint32_t>(std::min<int64_t>(cut.bands * cut.chunks, (int64_t{1} << 31) - 1));
  const auto threads = std::min(kPatchThreads, (cut.chunk + 31) / 32 * 32);
  with_patch_widths<In, Out>(cut, [&](auto vector, auto load) {
    constexpr uint32_t kVector = decltype(vector)::value, kLoad = decltype(load)::value;
    cut_patches<kVector, kLoad><<<blocks, threads, 0, stream>>>(cut, in, out, offset);
  });
}

#define WEFT_PATCHIFY(In, Out) \
  template void launch_patchify(const PatchCut&, const In*, Out*, float, CUstream_st*);
WEFT_PATCHIFY(uint8_t, uint8_t)
WEFT_PATCHIFY(uint16_t, uint16_t)
WEFT_PATCHIFY(uint32_t, uint32_t)
WEFT_PATCHIFY(uint64_t, uint64_t)
WEFT_PATCHIFY(uint8_t, c10::Half)
WEFT_PATCHIFY(uint8_t, c10::BFloat16)
WEFT_PATCHIFY(uint8_t, float)
WEFT_PATCHIFY(uint8_t, double)
#undef WEFT_PATCHIFY

}  // namespace weft::ops::cuda
