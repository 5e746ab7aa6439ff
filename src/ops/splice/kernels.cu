#include <algorithm>
#include <cstdio>

#include "ops/splice/kernels.hpp"

namespace weft::ops::cuda {
namespace {

constexpr uint32_t kWarp = 32;

/// The sum over the block's threads, in every thread.
__device__ uint32_t block_sum(uint32_t value) {
  __shared__ uint32_t sums[kSpliceThreads / kWarp];
  for (uint32_t step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(~0U, value, step);
  __syncthreads();
  if (threadIdx.x % kWarp == 0) sums[threadIdx.x / kWarp] = value;
  __syncthreads();
  uint32_t total = 0;
  for (const auto sum : sums) total += sum;
  return total;
}

/// One block a band of rows.
template <uint32_t kBytes>
__global__ void __launch_bounds__(kSpliceThreads)
    splice_rows(const kernels::SpliceWork work, int64_t band) {
  const auto begin = blockIdx.x * band, end = min(begin + band, work.rows);
  int64_t before = block_sum(count_share(work.placeholder, begin, threadIdx.x, kSpliceThreads));
  for (auto row = begin; row < end; ++row) {
    move_share<kBytes>(kernels::plan_row(work, row, before), work.row_bytes, threadIdx.x,
                       kSpliceThreads);
    before += work.placeholder[row];
  }
  if (end == work.rows && before != work.visual_rows && threadIdx.x == 0) {
    printf("splice: %lld placeholders for %lld visual tokens\n", static_cast<long long>(before),
           static_cast<long long>(work.visual_rows));
    __trap();
  }
}

}  // namespace

void launch_splice(const kernels::SpliceWork& work, CUstream_st* stream) {
  const auto band = (work.rows + kSpliceBands - 1) / kSpliceBands;
  const auto blocks = static_cast<uint32_t>((work.rows + band - 1) / band);
  switch (piece_bytes(work)) {
    case 16:
      splice_rows<16><<<blocks, kSpliceThreads, 0, stream>>>(work, band);
      break;
    case 4:
      splice_rows<4><<<blocks, kSpliceThreads, 0, stream>>>(work, band);
      break;
    default:
      splice_rows<1><<<blocks, kSpliceThreads, 0, stream>>>(work, band);
  }
}

}  // namespace weft::ops::cuda
