#pragma once

#include <ATen/ops/empty.h>

#include "ops/gated_linear/backends.hpp"
#include "ops/gated_linear/work.hpp"
#include "ops/huge_pages.hpp"

namespace weft::ops {

/// The tensors of a pass as kernels see them: of gate's dtype and in order.
class GatedPass {
 public:
  /// grad: undefined where only the product is wanted.
  GatedPass(const Tensor& grad, const Tensor& gate, const Tensor& up, const GatedWanted& wanted)
      : gate_(gate.contiguous()), up_(beside_gate(up)) {
    if (grad.defined()) grad_ = beside_gate(grad);
    for (size_t i = 0; i < outputs_.size(); ++i)
      if (wanted[i]) outputs_[i] = with_huge_pages(at::empty(gate_.sizes(), gate_.options()));
  }

  /// T: the elements' type, or another one of their bits.
  template <class T>
  kernels::GatedWork<T> work(int64_t activation) const {
    const auto in = [](const Tensor& t) {
      return t.defined() ? static_cast<const T*>(t.const_data_ptr()) : nullptr;
    };
    const auto out = [](const Tensor& t) {
      return t.defined() ? static_cast<T*>(t.mutable_data_ptr()) : nullptr;
    };
    kernels::GatedWork<T> made;
    made.gate = in(gate_);
    made.up = in(up_);
    made.grad = in(grad_);
    made.product = out(outputs_[0]);
    made.gate_grad = out(outputs_[1]);
    made.up_grad = out(outputs_[2]);
    made.count = gate_.numel();
    made.activation = static_cast<GateActivation>(activation);
    return made;
  }

  GatedOutputs outputs() const {
    const auto given = [&](const Tensor& t) {
      return t.defined() ? t : at::empty({0}, gate_.options());
    };
    return {given(outputs_[0]), given(outputs_[1]), given(outputs_[2])};
  }

 private:
  Tensor beside_gate(const Tensor& t) const {
    TORCH_CHECK_VALUE(t.sizes() == gate_.sizes(), "gated_linear: ", t.sizes(),
                      " does not go with gate ", gate_.sizes());
    return t.to(gate_.scalar_type()).contiguous();
  }

  Tensor gate_, up_, grad_;
  std::array<Tensor, 3> outputs_;
};

}  // namespace weft::ops
