#include <algorithm>

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include "ops/linear_cross_entropy/kernels.hpp"

namespace weft::ops::cuda {
namespace {

constexpr uint32_t kWarp = 32, kWarps = kLossThreads / kWarp;

template <class Real>
__device__ void add_lanes(RowPart<Real>& part) {
  for (uint32_t step = kWarp / 2; step > 0; step /= 2) {
    RowPart<Real> other;
    other.most = __shfl_xor_sync(~0U, part.most, step);
    other.sum = __shfl_xor_sync(~0U, part.sum, step);
    other.total = __shfl_xor_sync(~0U, part.total, step);
    part.add(other);
  }
}

/// One block a row: read it, agree on the softmax, overwrite it.
template <class T, class Real>
__global__ void __launch_bounds__(kLossThreads) loss_rows(const LossWork<T, Real> work) {
  constexpr uint32_t kVector = 16 / sizeof(T);
  __shared__ Real most[kWarps], sum[kWarps], total[kWarps];
  const uint32_t lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  for (int64_t row = blockIdx.x; row < work.rows; row += gridDim.x) {
    const auto own_class = work.labels[row];
    const auto own = logit_of(work, work.logits[row * work.stride + own_class], own_class);
    auto part = read_part<kVector>(work, row, threadIdx.x, kLossThreads);
    add_lanes(part);
    __syncthreads();  // the last row's sums have been read, and its label's logit
    if (lane == 0) {
      most[warp] = part.most;
      sum[warp] = part.sum;
      total[warp] = part.total;
    }
    __syncthreads();
    RowPart<Real> whole;
    for (uint32_t w = 0; w < kWarps; ++w) {
      RowPart<Real> other;
      other.most = most[w];
      other.sum = sum[w];
      other.total = total[w];
      whole.add(other);
    }
    const auto softmax = finish_row(work, whole, own);
    if (threadIdx.x == 0) work.losses[row] = softmax.loss;
    if (work.row_grad) write_part<kVector>(work, row, softmax, threadIdx.x, kLossThreads);
  }
}

}  // namespace

template <class T, class Real>
void launch_loss_rows(const LossWork<T, Real>& work, CUstream_st* stream) {
  const auto blocks = static_cast<uint32_t>(std::min<int64_t>(work.rows, (int64_t{1} << 31) - 1));
  loss_rows<<<blocks, kLossThreads, 0, stream>>>(work);
}

#define WEFT_LOSS_ROWS(T, Real) \
  template void launch_loss_rows(const LossWork<T, Real>&, CUstream_st*);
WEFT_LOSS_ROWS(float, float)
WEFT_LOSS_ROWS(c10::Half, float)
WEFT_LOSS_ROWS(c10::BFloat16, float)
WEFT_LOSS_ROWS(double, double)
#undef WEFT_LOSS_ROWS

}  // namespace weft::ops::cuda
