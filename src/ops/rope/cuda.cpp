#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <ATen/OpMathType.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "ops/rope/backends.hpp"
#include "ops/rope/geometry.hpp"
#include "ops/rope/kernels.hpp"

namespace weft::ops::cuda {

Tensor rope(const Tensor& x_in, const Tensor& cos_in, const Tensor& sin_in, bool interleaved,
            bool inverse) {
  const c10::cuda::CUDAGuard guard(x_in.device());
  const auto x = with_heads_together(x_in);
  const auto real = at::toOpMathType(x.scalar_type());
  const auto cos = cos_in.to(real).contiguous(), sin = sin_in.to(real).contiguous();
  auto out = at::empty_like(x);
  if (x.numel() == 0) return out;
  // What a token has must fit the kernel's numbers of 31 bits.
  if (x.size(1) * x.size(3) >= int64_t{1} << 31)
    return reference::rope(x, cos, sin, interleaved, inverse);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, x.scalar_type(), "rope", [&] {
    using Real = at::opmath_type<scalar_t>;
    RopeWork<scalar_t, Real> work;
    work.x = x.const_data_ptr<scalar_t>();
    work.out = out.mutable_data_ptr<scalar_t>();
    work.cos = cos.const_data_ptr<Real>();
    work.sin = sin.const_data_ptr<Real>();
    work.batch = x.size(0);
    set_rope_geometry(work, x, cos, out);
    work.interleaved = interleaved;
    work.inverse = inverse;
    launch_rope(work, c10::cuda::getCurrentCUDAStream().stream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  });
  return out;
}

}  // namespace weft::ops::cuda
