#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

// One signature, several implementations; patchify.cpp registers them all.
// Returns [B, h * w, C * patch * patch] of `dtype`, pixel - offset. dtype is that of pixels, or any
// floating one for uint8 pixels; offset is 0 unless dtype is floating.
namespace weft::ops {

using at::Tensor;

#define WEFT_PATCHIFY_SIGNATURE \
  Tensor patchify(const Tensor& pixels, int64_t patch, at::ScalarType dtype, int64_t offset)

namespace dispatch {  // through torch's dispatcher
WEFT_PATCHIFY_SIGNATURE;
}
namespace reference {  // plain ATen: the specification, and every backend without its own
WEFT_PATCHIFY_SIGNATURE;
}
namespace cpu {
WEFT_PATCHIFY_SIGNATURE;
}
namespace cuda {
WEFT_PATCHIFY_SIGNATURE;
}
namespace meta {
WEFT_PATCHIFY_SIGNATURE;
}
namespace autograd {
WEFT_PATCHIFY_SIGNATURE;
}

#undef WEFT_PATCHIFY_SIGNATURE

}  // namespace weft::ops
