// linear_cross_entropy: contract, schema and every registration.
#include <string_view>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include <weft/ops/linear_cross_entropy.hpp>

#include "ops/autocast.hpp"
#include "ops/linear_cross_entropy/backends.hpp"

namespace weft::ops {
namespace {

constexpr std::string_view kReductions[] = {"mean", "sum", "none"};

void check(const Tensor& x, const Tensor& weight, const Tensor& labels,
           const LinearCrossEntropyOptions& options) {
  TORCH_CHECK_VALUE(x.dim() >= 1 && weight.dim() == 2 && x.sym_size(-1) == weight.sym_size(1),
                    "linear_cross_entropy: x must be [..., D] and weight [V, D], got ",
                    x.sym_sizes(), " and ", weight.sym_sizes());
  TORCH_CHECK_VALUE(weight.sym_size(0) > 0,
                    "linear_cross_entropy: at least one class is needed, got weight ",
                    weight.sym_sizes());
  TORCH_CHECK_VALUE(labels.sym_sizes() == x.sym_sizes().slice(0, static_cast<size_t>(x.dim() - 1)),
                    "linear_cross_entropy: labels must have the shape of x without its last "
                    "dimension, got ",
                    labels.sym_sizes(), " for x ", x.sym_sizes());
  TORCH_CHECK_VALUE(labels.scalar_type() == at::kLong,
                    "linear_cross_entropy: labels must be int64, got ", labels.scalar_type());
  const auto& bias = options.bias;
  const bool biased = bias && bias->defined();
  TORCH_CHECK_VALUE(!biased || (bias->dim() == 1 && bias->sym_size(0) == weight.sym_size(0)),
                    "linear_cross_entropy: bias must be [", weight.sym_size(0), "], got ",
                    bias->sym_sizes());
  TORCH_CHECK_VALUE(
      x.is_floating_point() && weight.is_floating_point() && (!biased || bias->is_floating_point()),
      "linear_cross_entropy: x, weight and bias must be floating, got ", x.scalar_type(), " and ",
      weight.scalar_type());
  TORCH_CHECK_VALUE((x.scalar_type() == weight.scalar_type() &&
                     (!biased || bias->scalar_type() == weight.scalar_type())) ||
                        autocast_is_on(x.device().type()),
                    "linear_cross_entropy: x, weight and bias must have one dtype, got ",
                    x.scalar_type(), ", ", weight.scalar_type(), " and ",
                    (biased ? *bias : weight).scalar_type());
  TORCH_CHECK_VALUE(x.device() == weight.device() && x.device() == labels.device() &&
                        (!biased || x.device() == bias->device()),
                    "linear_cross_entropy: all tensors must be on one device, got x on ",
                    x.device(), ", weight on ", weight.device(), " and labels on ",
                    labels.device());
  TORCH_CHECK_VALUE(options.label_smoothing >= 0 && options.label_smoothing <= 1,
                    "linear_cross_entropy: label_smoothing must be in [0, 1], got ",
                    options.label_smoothing);
  TORCH_CHECK_VALUE(options.z_loss >= 0 && options.softcap >= 0,
                    "linear_cross_entropy: z_loss and softcap must not be negative, got ",
                    options.z_loss, " and ", options.softcap);
}

Tensor linear_cross_entropy_by_name(const Tensor& x, const Tensor& weight, const Tensor& labels,
                                    const std::optional<Tensor>& bias, double label_smoothing,
                                    double z_loss, double softcap, std::string_view reduction) {
  int64_t index = 0;
  while (index < 3 && kReductions[index] != reduction) ++index;
  TORCH_CHECK_VALUE(index < 3, "linear_cross_entropy: reduction must be mean, sum or none, got ",
                    reduction);
  return linear_cross_entropy(x, weight, labels,
                              {.bias = bias,
                               .label_smoothing = label_smoothing,
                               .z_loss = z_loss,
                               .softcap = softcap,
                               .reduction = static_cast<LossReduction>(index)});
}

}  // namespace

Tensor linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& labels,
                            const LinearCrossEntropyOptions& options) {
  check(x, weight, labels, options);
  const auto loss = dispatch::linear_cross_entropy(
      x.reshape_symint({-1, x.sym_size(-1)}), weight, labels.reshape({-1}), options.bias,
      options.label_smoothing, options.z_loss, options.softcap,
      static_cast<int64_t>(options.reduction));
  return options.reduction == LossReduction::none ? loss.view_symint(labels.sym_sizes()) : loss;
}

Tensor reduce_losses(const Tensor& losses, const Tensor& labels, int64_t reduction) {
  switch (static_cast<LossReduction>(reduction)) {
    case LossReduction::mean:
      return losses.sum() / labels.ne(kIgnoredLabel).sum().clamp_min(1);
    case LossReduction::sum:
      return losses.sum();
    case LossReduction::none:
      break;
  }
  return losses;
}

at::ScalarType gradient_type(at::ScalarType type) { return type == at::kHalf ? at::kFloat : type; }

namespace meta {

RowLosses linear_cross_entropy_rows(const Tensor& x, const Tensor& weight, const Tensor&,
                                    const std::optional<Tensor>&,
                                    const std::optional<Tensor>& row_grad, double, double, double,
                                    Wanted wanted) {
  const auto type = gradient_type(x.scalar_type());
  const auto gradient = [&](size_t i, c10::SymIntArrayRef sizes) {
    const auto options = x.options().dtype(type);
    return row_grad && wanted[i] ? at::empty_symint(sizes, options) : at::empty({0}, options);
  };
  return {at::empty_symint({x.sym_size(0)}, x.options().dtype(at::toOpMathType(x.scalar_type()))),
          gradient(0, x.sym_sizes()), gradient(1, weight.sym_sizes()),
          gradient(2, {weight.sym_size(0)})};
}

}  // namespace meta

namespace autocast {

template <at::DeviceType device>
Tensor linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& labels,
                            const std::optional<Tensor>& bias, double label_smoothing,
                            double z_loss, double softcap, int64_t reduction) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(
      at::autocast::get_autocast_dispatch_key_from_device_type(device));
  const auto type = at::autocast::get_autocast_dtype(device);
  const auto cast = [&](const Tensor& t) { return at::autocast::cached_cast(type, t, device); };
  const auto shift = bias ? std::optional(cast(*bias)) : bias;
  return dispatch::linear_cross_entropy(cast(x), cast(weight), labels, shift, label_smoothing,
                                        z_loss, softcap, reduction);
}

// backward() may be called inside the autocast region, which must not reach its products.
template <at::DeviceType device>
RowLosses linear_cross_entropy_rows(const Tensor& x, const Tensor& weight, const Tensor& labels,
                                    const std::optional<Tensor>& bias,
                                    const std::optional<Tensor>& row_grad, double label_smoothing,
                                    double z_loss, double softcap, Wanted wanted) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(
      at::autocast::get_autocast_dispatch_key_from_device_type(device));
  return dispatch::linear_cross_entropy_rows(x, weight, labels, bias, row_grad, label_smoothing,
                                             z_loss, softcap, wanted);
}

}  // namespace autocast

namespace dispatch {

RowLosses linear_cross_entropy_rows(const Tensor& x, const Tensor& weight, const Tensor& labels,
                                    const std::optional<Tensor>& bias,
                                    const std::optional<Tensor>& row_grad, double label_smoothing,
                                    double z_loss, double softcap, Wanted wanted) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("weft::_linear_cross_entropy_rows", "")
                             .typed<decltype(dispatch::linear_cross_entropy_rows)>();
  return op.call(x, weight, labels, bias, row_grad, label_smoothing, z_loss, softcap, wanted);
}

Tensor linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& labels,
                            const std::optional<Tensor>& bias, double label_smoothing,
                            double z_loss, double softcap, int64_t reduction) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("weft::_linear_cross_entropy", "")
                             .typed<decltype(dispatch::linear_cross_entropy)>();
  return op.call(x, weight, labels, bias, label_smoothing, z_loss, softcap, reduction);
}

std::tuple<Tensor, Tensor, Tensor> linear_cross_entropy_backward(
    const Tensor& grad, const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
    const Tensor& x_grad, const Tensor& weight_grad, const Tensor& bias_grad) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("weft::_linear_cross_entropy_backward", "")
                             .typed<decltype(dispatch::linear_cross_entropy_backward)>();
  return op.call(grad, x, weight, bias, x_grad, weight_grad, bias_grad);
}

}  // namespace dispatch

TORCH_LIBRARY_FRAGMENT(weft, m) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  m.def(
      "linear_cross_entropy(Tensor x, Tensor weight, Tensor labels, Tensor? bias=None,"
      " float label_smoothing=0, float z_loss=0, float softcap=0, str reduction='mean') -> Tensor",
      tags);
  m.def(
      "_linear_cross_entropy(Tensor x, Tensor weight, Tensor labels, Tensor? bias,"
      " float label_smoothing, float z_loss, float softcap, int reduction) -> Tensor",
      tags);
  m.def(
      "_linear_cross_entropy_rows(Tensor x, Tensor weight, Tensor labels, Tensor? bias,"
      " Tensor? row_grad, float label_smoothing, float z_loss, float softcap, bool[3] wanted)"
      " -> (Tensor losses, Tensor x_grad, Tensor weight_grad, Tensor bias_grad)",
      tags);
  m.def(
      "_linear_cross_entropy_backward(Tensor grad, Tensor x, Tensor weight, Tensor? bias,"
      " Tensor x_grad, Tensor weight_grad, Tensor bias_grad) -> (Tensor, Tensor, Tensor)",
      tags);
}
TORCH_LIBRARY_IMPL(weft, CompositeImplicitAutograd, m) {
  m.impl("linear_cross_entropy", TORCH_FN(linear_cross_entropy_by_name));
}
TORCH_LIBRARY_IMPL(weft, CompositeExplicitAutograd, m) {
  m.impl("_linear_cross_entropy", TORCH_FN(composite::linear_cross_entropy));
  m.impl("_linear_cross_entropy_rows", TORCH_FN(reference::linear_cross_entropy_rows));
  m.impl("_linear_cross_entropy_backward", TORCH_FN(composite::linear_cross_entropy_backward));
}
TORCH_LIBRARY_IMPL(weft, CPU, m) {
  m.impl("_linear_cross_entropy_rows", TORCH_FN(cpu::linear_cross_entropy_rows));
}
#ifdef WEFT_CUDA
TORCH_LIBRARY_IMPL(weft, CUDA, m) {
  m.impl("_linear_cross_entropy_rows", TORCH_FN(cuda::linear_cross_entropy_rows));
}
#endif
TORCH_LIBRARY_IMPL(weft, Meta, m) {
  m.impl("_linear_cross_entropy_rows", TORCH_FN(meta::linear_cross_entropy_rows));
}
TORCH_LIBRARY_IMPL(weft, Autograd, m) {
  m.impl("_linear_cross_entropy", TORCH_FN(autograd::linear_cross_entropy));
  m.impl("_linear_cross_entropy_rows", torch::autograd::autogradNotImplementedFallback());
  m.impl("_linear_cross_entropy_backward", torch::autograd::autogradNotImplementedFallback());
}
TORCH_LIBRARY_IMPL(weft, AutocastCPU, m) {
  m.impl("_linear_cross_entropy", TORCH_FN(autocast::linear_cross_entropy<at::kCPU>));
  m.impl("_linear_cross_entropy_rows", TORCH_FN(autocast::linear_cross_entropy_rows<at::kCPU>));
}
TORCH_LIBRARY_IMPL(weft, AutocastCUDA, m) {
  m.impl("_linear_cross_entropy", TORCH_FN(autocast::linear_cross_entropy<at::kCUDA>));
  m.impl("_linear_cross_entropy_rows", TORCH_FN(autocast::linear_cross_entropy_rows<at::kCUDA>));
}

}  // namespace weft::ops
