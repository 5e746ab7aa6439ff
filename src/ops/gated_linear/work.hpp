#pragma once

#include <cstdint>

#include <weft/ops/gate_activation.hpp>

// Free of torch and of CUDA's headers.
namespace weft::ops::kernels {

/// One pass over `count` elements that lie in order.
template <class T>
struct GatedWork {
  const T *gate = nullptr, *up = nullptr;
  const T* grad = nullptr;  // of act(gate) * up; null where only the product is wanted
  T *product = nullptr, *gate_grad = nullptr, *up_grad = nullptr;  // null: not wanted
  int64_t count = 0;
  GateActivation activation = GateActivation::silu;
};

}  // namespace weft::ops::kernels
