#include "ops/gated_linear/rows.hpp"

#include <algorithm>
#include <cmath>

#include "ops/vector_loops.hpp"

namespace weft::ops::kernels {
namespace {

constexpr int64_t kBlock = 512;  // elements whose activations wait in the first cache

template <class Real>
struct Activated {
  Real value, slope;
};

/// Both are g sigmoid(z): z = g of silu, and of gelu_tanh 2 y, as (1 + tanh(y)) / 2 = sigmoid(2 y).
template <bool kTanh, class Real>
WEFT_INLINE Activated<Real> activated(Real g) {
  constexpr auto kTwice = static_cast<Real>(1.5957691216057308);  // 2 sqrt(2 / pi)
  constexpr auto kCubic = static_cast<Real>(0.044715);
  const Real z = kTanh ? kTwice * g * (1 + kCubic * g * g) : g;
  const Real z_slope = kTanh ? kTwice * (1 + 3 * kCubic * g * g) : Real(1);
  const Real small = exponential(-std::abs(z)), large_share = 1 / (1 + small);
  const Real small_share = small * large_share;
  const Real sigmoid = z >= 0 ? large_share : small_share;
  const Real missed = z >= 0 ? small_share : large_share;  // to 1, with all its digits
  const Real value = g * sigmoid;
  return {value, sigmoid + value * missed * z_slope};
}

template <bool kTanh, class Real, class T>
WEFT_INLINE void gate_blocks(const GatedWork<T>& work, int64_t first, int64_t last) {
  Real value[kBlock] = {};
  for (int64_t begin = first; begin < last; begin += kBlock) {
    const int64_t n = std::min(kBlock, last - begin);
    const T *gate = work.gate + begin, *up = work.up + begin;
    if (work.gate_grad != nullptr) {
      const T* grad = work.grad + begin;
      T* __restrict out = work.gate_grad + begin;
      for (int64_t i = 0; i < n; ++i) {
        const Real g = widen(gate[i]), above = widen(grad[i]);
        const auto a = activated<kTanh>(g);
        value[i] = a.value;
        narrow(above * widen(up[i]) * a.slope, out + i);
      }
    } else {
      for (int64_t i = 0; i < n; ++i) {
        const Real g = widen(gate[i]);
        value[i] = activated<kTanh>(g).value;
      }
    }
    if (work.product != nullptr) {
      T* __restrict out = work.product + begin;
      for (int64_t i = 0; i < n; ++i) narrow(value[i] * widen(up[i]), out + i);
    }
    if (work.up_grad != nullptr) {
      const T* grad = work.grad + begin;
      T* __restrict out = work.up_grad + begin;
      for (int64_t i = 0; i < n; ++i) narrow(value[i] * widen(grad[i]), out + i);
    }
  }
}

WEFT_CLONES void silu_of_fp32(const GatedWork<float>& work, int64_t first, int64_t last) {
  gate_blocks<false, float>(work, first, last);
}

WEFT_CLONES void silu_of_bf16(const GatedWork<uint16_t>& work, int64_t first, int64_t last) {
  gate_blocks<false, float>(work, first, last);
}

WEFT_CLONES void gelu_of_fp32(const GatedWork<float>& work, int64_t first, int64_t last) {
  gate_blocks<true, float>(work, first, last);
}

WEFT_CLONES void gelu_of_bf16(const GatedWork<uint16_t>& work, int64_t first, int64_t last) {
  gate_blocks<true, float>(work, first, last);
}

bool is_silu(GateActivation activation) { return activation == GateActivation::silu; }

}  // namespace

void gate_elements(const GatedWork<float>& work, int64_t first, int64_t last) {
  is_silu(work.activation) ? silu_of_fp32(work, first, last) : gelu_of_fp32(work, first, last);
}

void gate_elements(const GatedWork<uint16_t>& work, int64_t first, int64_t last) {
  is_silu(work.activation) ? silu_of_bf16(work, first, last) : gelu_of_bf16(work, first, last);
}

void gate_elements(const GatedWork<double>& work, int64_t first, int64_t last) {
  is_silu(work.activation) ? gate_blocks<false, double>(work, first, last)
                           : gate_blocks<true, double>(work, first, last);
}

}  // namespace weft::ops::kernels
