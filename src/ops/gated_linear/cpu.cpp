#include <ATen/Parallel.h>

#include "ops/gated_linear/backends.hpp"
#include "ops/gated_linear/gated_pass.hpp"
#include "ops/gated_linear/rows.hpp"

namespace weft::ops::cpu {
namespace {

constexpr int64_t kGatedGrain = 16384;  // elements of a task

template <class T>
void gate_in_parallel(const kernels::GatedWork<T>& work) {
  at::parallel_for(0, work.count, kGatedGrain,
                   [&](int64_t first, int64_t last) { kernels::gate_elements(work, first, last); });
}

GatedOutputs gate_on_cpu(const Tensor& grad, const Tensor& gate, const Tensor& up,
                         int64_t activation, const GatedWanted& wanted) {
  const GatedPass pass(grad, gate, up, wanted);
  switch (gate.scalar_type()) {
    case at::kDouble:
      gate_in_parallel(pass.work<double>(activation));
      break;
    case at::kFloat:
      gate_in_parallel(pass.work<float>(activation));
      break;
    default:
      TORCH_INTERNAL_ASSERT(gate.scalar_type() == at::kBFloat16);
      gate_in_parallel(pass.work<uint16_t>(activation));
  }
  return pass.outputs();
}

// The exact gelu has no loop here, and in fp16 few CPUs compute.
bool has_gate_loop(const Tensor& gate, int64_t activation) {
  return static_cast<GateActivation>(activation) != GateActivation::gelu &&
         gate.scalar_type() != at::kHalf;
}

}  // namespace

Tensor gated(const Tensor& gate, const Tensor& up, int64_t activation) {
  if (!has_gate_loop(gate, activation)) return reference::gated(gate, up, activation);
  return std::get<0>(gate_on_cpu({}, gate, up, activation, {true, false, false}));
}

GatedOutputs gated_backward(const Tensor& grad, const Tensor& gate, const Tensor& up,
                            int64_t activation, GatedWanted wanted) {
  if (!has_gate_loop(gate, activation))
    return reference::gated_backward(grad, gate, up, activation, wanted);
  return gate_on_cpu(grad, gate, up, activation, wanted);
}

}  // namespace weft::ops::cpu
