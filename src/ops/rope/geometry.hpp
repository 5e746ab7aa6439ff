#pragma once

#include <ATen/core/Tensor.h>

namespace weft::ops {

/// Sizes and strides of x, out [B, H, T, D] and cos [B or 1, T, R / 2] into a kernel's work.
template <class Work>
void set_rope_geometry(Work& work, const at::Tensor& x, const at::Tensor& cos,
                       const at::Tensor& out) {
  work.heads = x.size(1);
  work.tokens = x.size(2);
  work.width = x.size(3);
  work.pairs = cos.size(2);
  for (int i = 0; i < 3; ++i) {
    work.x_strides[i] = x.stride(i);
    work.out_strides[i] = out.stride(i);
  }
  work.table_batch_stride = cos.size(0) == 1 ? 0 : cos.stride(0);
}

}  // namespace weft::ops
