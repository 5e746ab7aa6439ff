#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "ops/patchify/backends.hpp"
#include "ops/patchify/kernels.hpp"

namespace weft::ops::cuda {
namespace {

template <class In, class Out>
void launch(const PatchCut& cut, const Tensor& pixels, const Tensor& out, int64_t offset) {
  launch_patchify(cut, static_cast<const In*>(pixels.const_data_ptr()),
                  static_cast<Out*>(out.mutable_data_ptr()), static_cast<float>(offset),
                  c10::cuda::getCurrentCUDAStream(pixels.get_device()).stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace

Tensor patchify(const Tensor& pixels, int64_t patch, at::ScalarType dtype, int64_t offset) {
  const auto source = pixels.scalar_type();
  TORCH_INTERNAL_ASSERT(dtype == source ? offset == 0 : source == at::kByte);
  const c10::cuda::CUDAGuard guard(pixels.device());
  const PixelLayout layout{
      pixels.size(0),
      pixels.size(1),
      pixels.size(2),
      pixels.size(3),
      {pixels.stride(0), pixels.stride(1), pixels.stride(2), pixels.stride(3)}};
  const auto cut = make_patch_cut(
      layout, patch, reinterpret_cast<uint64_t>(pixels.const_data_ptr()),
      static_cast<uint32_t>(pixels.element_size()), static_cast<uint32_t>(at::elementSize(dtype)));
  // Nothing to do, bands of 2^31 elements, or an offset that fp32 cannot hold beside a byte.
  if (!cut || std::abs(offset) >= int64_t{1} << 23)
    return reference::patchify(pixels, patch, dtype, offset);

  auto out =
      at::empty({pixels.size(0), cut->h * (pixels.size(3) / patch), pixels.size(1) * patch * patch},
                pixels.options().dtype(dtype));
  if (dtype != source) {
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, dtype, "patchify",
                                    [&] { launch<uint8_t, scalar_t>(*cut, pixels, out, offset); });
    return out;
  }
  switch (pixels.element_size()) {
    case 1:
      launch<uint8_t, uint8_t>(*cut, pixels, out, 0);
      break;
    case 2:
      launch<uint16_t, uint16_t>(*cut, pixels, out, 0);
      break;
    case 4:
      launch<uint32_t, uint32_t>(*cut, pixels, out, 0);
      break;
    case 8:
      launch<uint64_t, uint64_t>(*cut, pixels, out, 0);
      break;
    default:
      return reference::patchify(pixels, patch, dtype, offset);
  }
  return out;
}

}  // namespace weft::ops::cuda
