#pragma once

#include <cstdint>

#include "ops/gated_linear/work.hpp"

// Free of torch, so that the loops compile in a second and with options of their own.
namespace weft::ops::kernels {

/// Makes what is wanted of elements [first, last), for silu and gelu_tanh. uint16_t: bfloat16 bits,
/// computed in fp32.
void gate_elements(const GatedWork<float>& work, int64_t first, int64_t last);
void gate_elements(const GatedWork<uint16_t>& work, int64_t first, int64_t last);
void gate_elements(const GatedWork<double>& work, int64_t first, int64_t last);

}  // namespace weft::ops::kernels
