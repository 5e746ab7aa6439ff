#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "ops/splice/work.hpp"

namespace weft::ops::cuda {
namespace {

/// The mask as the kernel reads it: contiguous, aligned to 16 bytes.
Tensor aligned_mask(const Tensor& placeholders) {
  const auto mask = placeholders.contiguous();
  return reinterpret_cast<uint64_t>(mask.const_data_ptr()) % 16 == 0 ? mask : mask.clone();
}

/// On the current device and its stream.
void move_rows(const kernels::SpliceWork& work) {
  if (work.rows == 0) return;
  launch_splice(work, c10::cuda::getCurrentCUDAStream().stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace

Tensor splice(const Tensor& embeddings, const Tensor& visual, const Tensor& placeholders) {
  const c10::cuda::CUDAGuard guard(embeddings.device());
  return splice_by(move_rows, embeddings, visual, aligned_mask(placeholders));
}

std::tuple<Tensor, Tensor> splice_backward(const Tensor& grad, const Tensor& placeholders,
                                           c10::SymInt visual_rows, std::array<bool, 2> wanted) {
  const c10::cuda::CUDAGuard guard(grad.device());
  return splice_backward_by(move_rows, grad, aligned_mask(placeholders),
                            visual_rows.guard_int(__FILE__, __LINE__), wanted);
}

}  // namespace weft::ops::cuda
