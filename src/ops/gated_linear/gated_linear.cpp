// gated_linear: contract, specification, schema and every registration.
#include <string_view>

#include <ATen/Functions.h>
#include <ATen/OpMathType.h>
#include <ATen/TensorOperators.h>
#include <torch/library.h>

#include <weft/ops/gated_linear.hpp>

#include "ops/autocast.hpp"
#include "ops/gated_linear/backends.hpp"

namespace weft::ops {
namespace {

constexpr std::string_view kGateActivations[] = {"silu", "gelu", "gelu_tanh"};

Tensor gated_linear_by_name(const Tensor& gate, const Tensor& up, const Tensor& weight,
                            const std::optional<Tensor>& bias, std::string_view activation) {
  int64_t index = 0;
  while (index < 3 && kGateActivations[index] != activation) ++index;
  TORCH_CHECK_VALUE(index < 3, "gated_linear: activation must be silu, gelu or gelu_tanh, got ",
                    activation);
  return gated_linear(gate, up, weight, bias, static_cast<GateActivation>(index));
}

}  // namespace

Tensor gated_linear(const Tensor& gate, const Tensor& up, const Tensor& weight,
                    const std::optional<Tensor>& bias, GateActivation activation) {
  TORCH_CHECK_VALUE(gate.dim() >= 1 && gate.sym_sizes() == up.sym_sizes() && gate.sym_size(-1) > 0,
                    "gated_linear: gate and up must both be [..., I], got ", gate.sym_sizes(),
                    " and ", up.sym_sizes());
  TORCH_CHECK_VALUE(weight.dim() == 2 && weight.sym_size(1) == gate.sym_size(-1),
                    "gated_linear: weight must be [O, ", gate.sym_size(-1), "], got ",
                    weight.sym_sizes());
  const bool biased = bias && bias->defined();
  TORCH_CHECK_VALUE(!biased || (bias->dim() == 1 && bias->sym_size(0) == weight.sym_size(0)),
                    "gated_linear: bias must be [", weight.sym_size(0), "], got ",
                    bias->sym_sizes());
  const auto& last = biased ? *bias : weight;
  TORCH_CHECK_VALUE(gate.is_floating_point() && up.is_floating_point() &&
                        weight.is_floating_point() && last.is_floating_point(),
                    "gated_linear: gate, up, weight and bias must be floating, got ",
                    gate.scalar_type(), ", ", up.scalar_type(), ", ", weight.scalar_type(), " and ",
                    last.scalar_type());
  TORCH_CHECK_VALUE(
      (gate.scalar_type() == up.scalar_type() && gate.scalar_type() == weight.scalar_type() &&
       gate.scalar_type() == last.scalar_type()) ||
          autocast_is_on(gate.device().type()),
      "gated_linear: gate, up, weight and bias must have one dtype, got ", gate.scalar_type(), ", ",
      up.scalar_type(), ", ", weight.scalar_type(), " and ", last.scalar_type());
  TORCH_CHECK_VALUE(gate.device() == up.device() && gate.device() == weight.device() &&
                        gate.device() == last.device(),
                    "gated_linear: gate, up, weight and bias must be on one device, got ",
                    gate.device(), ", ", up.device(), ", ", weight.device(), " and ",
                    last.device());
  const auto width = gate.sym_size(-1);
  const auto out = dispatch::gated_linear(
      gate.reshape_symint({-1, width}), up.reshape_symint({-1, width}), weight,
      biased ? bias : std::nullopt, static_cast<int64_t>(activation));
  auto shape = gate.sym_sizes().vec();
  shape.back() = weight.sym_size(0);
  return out.view_symint(shape);
}

namespace reference {
namespace {

Tensor activated(const Tensor& gate, int64_t activation) {
  switch (static_cast<GateActivation>(activation)) {
    case GateActivation::silu:
      return gate * at::sigmoid(gate);
    case GateActivation::gelu:
      return at::gelu(gate);
    case GateActivation::gelu_tanh:
      return at::gelu(gate, "tanh");
  }
  TORCH_CHECK_VALUE(false, "gated_linear: unknown activation ", activation);
}

/// grad times the activation's slope.
Tensor activated_backward(const Tensor& grad, const Tensor& gate, int64_t activation) {
  switch (static_cast<GateActivation>(activation)) {
    case GateActivation::silu: {
      const auto s = at::sigmoid(gate);
      return grad * (s + gate * s * (1 - s));
    }
    case GateActivation::gelu:
      return at::gelu_backward(grad, gate);
    case GateActivation::gelu_tanh:
      return at::gelu_backward(grad, gate, "tanh");
  }
  TORCH_CHECK_VALUE(false, "gated_linear: unknown activation ", activation);
}

}  // namespace

Tensor gated(const Tensor& gate, const Tensor& up, int64_t activation) {
  const auto real = at::toOpMathType(gate.scalar_type());
  return (activated(gate.to(real), activation) * up.to(real)).to(gate.scalar_type()).contiguous();
}

GatedOutputs gated_backward(const Tensor& grad_in, const Tensor& gate_in, const Tensor& up_in,
                            int64_t activation, GatedWanted wanted) {
  const auto type = gate_in.scalar_type(), real = at::toOpMathType(type);
  const auto grad = grad_in.to(real), gate = gate_in.to(real), up = up_in.to(real);
  const auto value = wanted[0] || wanted[2] ? activated(gate, activation) : Tensor();
  const auto none = [&] { return at::empty({0}, gate_in.options()); };
  const auto rounded = [&](const Tensor& t) { return t.to(type).contiguous(); };
  return {wanted[0] ? rounded(value * up) : none(),
          wanted[1] ? rounded(activated_backward(grad * up, gate, activation)) : none(),
          wanted[2] ? rounded(grad * value) : none()};
}

}  // namespace reference

namespace composite {

Tensor gated_linear(const Tensor& gate, const Tensor& up, const Tensor& weight,
                    const std::optional<Tensor>& bias, int64_t activation) {
  return at::linear(dispatch::gated(gate, up, activation), weight, bias);
}

}  // namespace composite

namespace meta {

Tensor gated(const Tensor& gate, const Tensor&, int64_t) {
  return at::empty_symint(gate.sym_sizes(), gate.options());
}

GatedOutputs gated_backward(const Tensor&, const Tensor& gate, const Tensor&, int64_t,
                            GatedWanted wanted) {
  const auto made = [&](bool is_wanted) {
    return is_wanted ? at::empty_symint(gate.sym_sizes(), gate.options())
                     : at::empty({0}, gate.options());
  };
  return {made(wanted[0]), made(wanted[1]), made(wanted[2])};
}

}  // namespace meta

namespace autocast {

template <at::DeviceType device>
Tensor gated_linear(const Tensor& gate, const Tensor& up, const Tensor& weight,
                    const std::optional<Tensor>& bias, int64_t activation) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(
      at::autocast::get_autocast_dispatch_key_from_device_type(device));
  const auto type = at::autocast::get_autocast_dtype(device);
  const auto cast = [&](const Tensor& t) { return at::autocast::cached_cast(type, t, device); };
  const auto shift = bias ? std::optional(cast(*bias)) : bias;
  return dispatch::gated_linear(cast(gate), cast(up), cast(weight), shift, activation);
}

}  // namespace autocast

namespace dispatch {

Tensor gated_linear(const Tensor& gate, const Tensor& up, const Tensor& weight,
                    const std::optional<Tensor>& bias, int64_t activation) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("weft::_gated_linear", "")
                             .typed<decltype(dispatch::gated_linear)>();
  return op.call(gate, up, weight, bias, activation);
}

Tensor gated(const Tensor& gate, const Tensor& up, int64_t activation) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("weft::_gated", "")
                             .typed<decltype(dispatch::gated)>();
  return op.call(gate, up, activation);
}

GatedOutputs gated_backward(const Tensor& grad, const Tensor& gate, const Tensor& up,
                            int64_t activation, GatedWanted wanted) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("weft::_gated_backward", "")
                             .typed<decltype(dispatch::gated_backward)>();
  return op.call(grad, gate, up, activation, wanted);
}

}  // namespace dispatch

TORCH_LIBRARY_FRAGMENT(weft, m) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  m.def(
      "gated_linear(Tensor gate, Tensor up, Tensor weight, Tensor? bias=None,"
      " str activation='silu') -> Tensor",
      tags);
  m.def(
      "_gated_linear(Tensor gate, Tensor up, Tensor weight, Tensor? bias, int activation)"
      " -> Tensor",
      tags);
  m.def("_gated(Tensor gate, Tensor up, int activation) -> Tensor", tags);
  m.def(
      "_gated_backward(Tensor grad, Tensor gate, Tensor up, int activation, bool[3] wanted)"
      " -> (Tensor product, Tensor gate_grad, Tensor up_grad)",
      tags);
}
TORCH_LIBRARY_IMPL(weft, CompositeImplicitAutograd, m) {
  m.impl("gated_linear", TORCH_FN(gated_linear_by_name));
}
TORCH_LIBRARY_IMPL(weft, CompositeExplicitAutograd, m) {
  m.impl("_gated_linear", TORCH_FN(composite::gated_linear));
  m.impl("_gated", TORCH_FN(reference::gated));
  m.impl("_gated_backward", TORCH_FN(reference::gated_backward));
}
TORCH_LIBRARY_IMPL(weft, CPU, m) {
  m.impl("_gated", TORCH_FN(cpu::gated));
  m.impl("_gated_backward", TORCH_FN(cpu::gated_backward));
}
#ifdef WEFT_CUDA
TORCH_LIBRARY_IMPL(weft, CUDA, m) {
  m.impl("_gated", TORCH_FN(cuda::gated));
  m.impl("_gated_backward", TORCH_FN(cuda::gated_backward));
}
#endif
TORCH_LIBRARY_IMPL(weft, Meta, m) {
  m.impl("_gated", TORCH_FN(meta::gated));
  m.impl("_gated_backward", TORCH_FN(meta::gated_backward));
}
TORCH_LIBRARY_IMPL(weft, Autograd, m) {
  m.impl("_gated_linear", TORCH_FN(autograd::gated_linear));
  m.impl("_gated", TORCH_FN(autograd::gated));
  m.impl("_gated_backward", TORCH_FN(autograd::gated_backward));
}
TORCH_LIBRARY_IMPL(weft, AutocastCPU, m) {
  m.impl("_gated_linear", TORCH_FN(autocast::gated_linear<at::kCPU>));
}
TORCH_LIBRARY_IMPL(weft, AutocastCUDA, m) {
  m.impl("_gated_linear", TORCH_FN(autocast::gated_linear<at::kCUDA>));
}

}  // namespace weft::ops
