#pragma once

#include <ATen/core/Tensor.h>

// One signature, several implementations; rope.cpp registers them all.
namespace weft::ops {

using at::Tensor;

/// x [B, H, T, D]; cos, sin [B or 1, T, R / 2]; inverse: by the negative angles. Returns what
/// like_rotated(x) makes.
#define WEFT_ROPE_SIGNATURE \
  Tensor rope(const Tensor& x, const Tensor& cos, const Tensor& sin, bool interleaved, bool inverse)

namespace dispatch {  // through torch's dispatcher
WEFT_ROPE_SIGNATURE;
}
namespace reference {  // plain ATen: the specification, and every backend without its own
WEFT_ROPE_SIGNATURE;
}
namespace cpu {
WEFT_ROPE_SIGNATURE;
}
namespace cuda {
WEFT_ROPE_SIGNATURE;
}
namespace meta {
WEFT_ROPE_SIGNATURE;
}
namespace autograd {
WEFT_ROPE_SIGNATURE;
}

#undef WEFT_ROPE_SIGNATURE

/// x, or a copy whose elements of a head lie side by side.
Tensor with_heads_together(const Tensor& x);

}  // namespace weft::ops
