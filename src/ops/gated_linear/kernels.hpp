#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "ops/gated_linear/work.hpp"
#include "ops/pack.hpp"

struct CUstream_st;

// Free of torch and of CUDA's headers: kernels.cu runs these functions on the device, the tests run
// them on the CPU.
namespace weft::ops::cuda {

using kernels::GatedWork;

constexpr uint32_t kGatedThreads = 256;

/// An activation and its slope at one point.
template <class Real>
struct GateValue {
  Real value, slope;
};

/// All three are g p(g). silu: p = sigmoid(g); gelu: the normal distribution; gelu_tanh:
/// sigmoid(2 y), which is (1 + tanh(y)) / 2.
template <GateActivation kActivation, class Real>
WEFT_HOST_DEVICE GateValue<Real> gate_value(Real g) {
  if constexpr (kActivation == GateActivation::gelu) {
    constexpr auto kRootHalf = static_cast<Real>(0.70710678118654752);
    constexpr auto kDensity = static_cast<Real>(0.39894228040143268);  // 1 / sqrt(2 pi)
    const Real p = (1 + std::erf(g * kRootHalf)) / 2;
    return {g * p, p + g * kDensity * std::exp(-g * g / 2)};
  } else {
    constexpr auto kTwice = static_cast<Real>(1.5957691216057308);  // 2 sqrt(2 / pi)
    constexpr auto kCubic = static_cast<Real>(0.044715);
    constexpr bool kTanh = kActivation == GateActivation::gelu_tanh;
    const Real z = kTanh ? kTwice * g * (1 + kCubic * g * g) : g;
    const Real z_slope = kTanh ? kTwice * (1 + 3 * kCubic * g * g) : Real(1);
    const Real p = 1 / (1 + std::exp(-z)), value = g * p;
    return {value, p + value * (1 - p) * z_slope};
  }
}

/// The most elements that one access moves: 16 bytes; of fp64, whose exponential takes the
/// registers that two would need, one.
template <class T>
constexpr uint32_t kWidestGate = std::is_same_v<T, double> ? 1 : 16 / sizeof(T);

/// How many elements are moved by one access: the most, or one where a tensor is not aligned.
template <class T>
uint32_t gated_vector(const GatedWork<T>& work) {
  const void* const addresses[] = {work.gate,    work.up,        work.grad,
                                   work.product, work.gate_grad, work.up_grad};
  for (const auto* address : addresses)
    if (reinterpret_cast<uint64_t>(address) % 16 != 0) return 1;
  return kWidestGate<T>;
}

/// Elements [first, first + kVector).
template <uint32_t kVector, GateActivation kActivation, bool kBackward, class T>
WEFT_HOST_DEVICE void gate_piece(const GatedWork<T>& work, int64_t first) {
  using Real = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const auto gate = load_pack<kVector>(work.gate + first), up = load_pack<kVector>(work.up + first);
  const auto value = [&](uint32_t i) {
    return gate_value<kActivation>(static_cast<Real>(gate.value[i]));
  };
  auto product = gate;
  if constexpr (kBackward) {
    const auto grad = load_pack<kVector>(work.grad + first);
    auto gate_grad = gate, up_grad = gate;
    for (uint32_t i = 0; i < kVector; ++i) {
      const auto a = value(i);
      const auto u = static_cast<Real>(up.value[i]), above = static_cast<Real>(grad.value[i]);
      product.value[i] = static_cast<T>(a.value * u);
      gate_grad.value[i] = static_cast<T>(above * u * a.slope);
      up_grad.value[i] = static_cast<T>(above * a.value);
    }
    if (work.gate_grad) store_pack(gate_grad, work.gate_grad + first);
    if (work.up_grad) store_pack(up_grad, work.up_grad + first);
  } else {
    for (uint32_t i = 0; i < kVector; ++i)
      product.value[i] = static_cast<T>(value(i).value * static_cast<Real>(up.value[i]));
  }
  if (work.product) store_pack(product, work.product + first);
}

/// What one of `threads` threads makes; the elements that do not fill a pack come one by one.
template <uint32_t kVector, GateActivation kActivation, bool kBackward, class T>
WEFT_HOST_DEVICE void gate_share(const GatedWork<T>& work, int64_t thread, int64_t threads) {
  const int64_t whole = work.count / kVector * kVector;
  for (int64_t i = thread * kVector; i < whole; i += threads * kVector)
    gate_piece<kVector, kActivation, kBackward>(work, i);
  for (int64_t i = whole + thread; i < work.count; i += threads)
    gate_piece<1, kActivation, kBackward>(work, i);
}

/// Calls f with the width, the activation and whether there is a gradient as constants.
template <class T, class F>
void with_gated_case(const GatedWork<T>& work, const F& f) {
  const auto with_vector = [&](auto activation, auto backward) {
    if (gated_vector(work) == kWidestGate<T>)
      f(std::integral_constant<uint32_t, kWidestGate<T>>(), activation, backward);
    else
      f(std::integral_constant<uint32_t, 1>(), activation, backward);
  };
  const auto with_backward = [&](auto activation) {
    if (work.grad)
      with_vector(activation, std::true_type());
    else
      with_vector(activation, std::false_type());
  };
  switch (work.activation) {
    case GateActivation::silu:
      with_backward(std::integral_constant<GateActivation, GateActivation::silu>());
      break;
    case GateActivation::gelu:
      with_backward(std::integral_constant<GateActivation, GateActivation::gelu>());
      break;
    case GateActivation::gelu_tanh:
      with_backward(std::integral_constant<GateActivation, GateActivation::gelu_tanh>());
      break;
  }
}

/// Launches the kernel on the current device, for one element at least; errors are left to
/// cudaGetLastError. Compiled for float, Half, BFloat16 and double.
template <class T>
void launch_gated(const GatedWork<T>& work, CUstream_st* stream);

}  // namespace weft::ops::cuda
