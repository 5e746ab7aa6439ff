#include <ATen/Dispatch.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "ops/gated_linear/backends.hpp"
#include "ops/gated_linear/gated_pass.hpp"
#include "ops/gated_linear/kernels.hpp"

namespace weft::ops::cuda {
namespace {

GatedOutputs gate_on_device(const Tensor& grad, const Tensor& gate, const Tensor& up,
                            int64_t activation, const GatedWanted& wanted) {
  const c10::cuda::CUDAGuard guard(gate.device());
  const GatedPass pass(grad, gate, up, wanted);
  if (gate.numel() == 0) return pass.outputs();
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, gate.scalar_type(), "gated_linear", [&] {
        launch_gated(pass.work<scalar_t>(activation), c10::cuda::getCurrentCUDAStream().stream());
        C10_CUDA_KERNEL_LAUNCH_CHECK();
      });
  return pass.outputs();
}

}  // namespace

Tensor gated(const Tensor& gate, const Tensor& up, int64_t activation) {
  return std::get<0>(gate_on_device({}, gate, up, activation, {true, false, false}));
}

GatedOutputs gated_backward(const Tensor& grad, const Tensor& gate, const Tensor& up,
                            int64_t activation, GatedWanted wanted) {
  return gate_on_device(grad, gate, up, activation, wanted);
}

}  // namespace weft::ops::cuda
