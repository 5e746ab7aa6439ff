#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <tuple>

#include <ATen/core/Tensor.h>

// One signature, several implementations; gated_linear.cpp registers them all.
namespace weft::ops {

using at::Tensor;

/// act(gate) * up and the gradients of gate and up, all of gate's shape and dtype; [0] where not
/// wanted.
using GatedOutputs = std::tuple<Tensor, Tensor, Tensor>;
using GatedWanted = std::array<bool, 3>;

/// gate, up [N, I], weight [O, I], bias [O]; activation: a GateActivation.
#define WEFT_GATED_LINEAR_SIGNATURE                                               \
  Tensor gated_linear(const Tensor& gate, const Tensor& up, const Tensor& weight, \
                      const std::optional<Tensor>& bias, int64_t activation)

/// act(gate) * up, of any one shape, contiguous.
#define WEFT_GATED_SIGNATURE Tensor gated(const Tensor& gate, const Tensor& up, int64_t activation)

/// grad: of act(gate) * up.
#define WEFT_GATED_BACKWARD_SIGNATURE                                                   \
  GatedOutputs gated_backward(const Tensor& grad, const Tensor& gate, const Tensor& up, \
                              int64_t activation, GatedWanted wanted)

namespace dispatch {  // through torch's dispatcher
WEFT_GATED_LINEAR_SIGNATURE;
WEFT_GATED_SIGNATURE;
WEFT_GATED_BACKWARD_SIGNATURE;
}  // namespace dispatch
namespace reference {  // plain ATen: the specification, and every backend without its own
WEFT_GATED_SIGNATURE;
WEFT_GATED_BACKWARD_SIGNATURE;
}  // namespace reference
namespace cpu {
WEFT_GATED_SIGNATURE;
WEFT_GATED_BACKWARD_SIGNATURE;
}  // namespace cpu
namespace cuda {
WEFT_GATED_SIGNATURE;
WEFT_GATED_BACKWARD_SIGNATURE;
}  // namespace cuda
namespace meta {
WEFT_GATED_SIGNATURE;
WEFT_GATED_BACKWARD_SIGNATURE;
}  // namespace meta
namespace autograd {
WEFT_GATED_LINEAR_SIGNATURE;
WEFT_GATED_SIGNATURE;
WEFT_GATED_BACKWARD_SIGNATURE;
}  // namespace autograd
namespace composite {  // by gated() of any backend
WEFT_GATED_LINEAR_SIGNATURE;
}

#undef WEFT_GATED_LINEAR_SIGNATURE
#undef WEFT_GATED_SIGNATURE
#undef WEFT_GATED_BACKWARD_SIGNATURE

}  // namespace weft::ops
