#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/cpu/Utils.h>

#include <weft/nn/attention_record.hpp>
#include <weft/nn/inference.hpp>

namespace weft::nn {
namespace {

thread_local std::optional<at::ScalarType> chosen_type;

bool processor_multiplies_bf16() {
  static const bool answer = [] {
    const auto found = at::cpu::get_cpu_capabilities();
    for (const auto* name : {"avx512_bf16", "amx_bf16"}) {
      const auto entry = found.find(name);
      if (entry != found.end() && entry->second.isBool() && entry->second.toBool()) return true;
    }
    return false;
  }();
  return answer;
}

/// Whether oneDNN has a packed bf16 product here; without AVX-512 it has none.
bool packs_bf16() {
  static const bool answer = c10::Dispatcher::singleton()
                                 .findSchemaOrThrow("mkldnn::_is_mkldnn_bf16_supported", "")
                                 .typed<bool()>()
                                 .call();
  return answer;
}

using Attributes = c10::List<std::optional<at::Scalar>>;

at::Tensor linear_pointwise(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            std::string_view attribute, std::string_view algorithm) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("mkldnn::_linear_pointwise", "")
          .typed<at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                            std::string_view, Attributes, std::optional<std::string_view>)>();
  return op.call(x, weight, bias.defined() ? std::optional(bias) : std::nullopt, attribute,
                 Attributes(), algorithm);
}

}  // namespace

bool inference_applies(const at::Tensor& x, bool training) {
  return !training && AttentionRecord::current() == nullptr && !at::GradMode::is_enabled() &&
         x.device().is_cpu() && at::hasMKLDNN() && at::autocast::is_autocast_enabled(at::kCPU) &&
         at::autocast::get_autocast_dtype(at::kCPU) == at::kBFloat16 &&
         x.scalar_type() != at::kDouble;
}

at::ScalarType inference_type() {
  if (chosen_type) return *chosen_type;
  return processor_multiplies_bf16() ? at::kBFloat16 : at::kFloat;
}

InferenceTypeGuard::InferenceTypeGuard(at::ScalarType type) : previous_(chosen_type) {
  TORCH_CHECK_VALUE(type == at::kBFloat16 || type == at::kFloat,
                    "InferenceTypeGuard: the type must be bfloat16 or float32, got ", type);
  chosen_type = type;
}
InferenceTypeGuard::~InferenceTypeGuard() { chosen_type = previous_; }

void TensorStamp::set(const std::vector<at::Tensor>& tensors) {
  entries_.clear();
  for (const auto& tensor : tensors) {
    const bool counted = tensor.defined() && !tensor.is_inference();
    entries_.push_back({tensor.defined() ? tensor.detach() : tensor,
                        counted ? static_cast<int64_t>(tensor._version()) : 0});
  }
}

bool TensorStamp::matches(const std::vector<at::Tensor>& tensors) const {
  if (entries_.size() != tensors.size()) return false;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto& tensor = tensors[i];
    const auto& entry = entries_[i];
    if (tensor.defined() != entry.alias.defined()) return false;
    if (!tensor.defined()) continue;
    // Inference tensors count no versions, so that a change of theirs would go unseen.
    if (tensor.is_inference() || tensor.data_ptr() != entry.alias.data_ptr() ||
        tensor.scalar_type() != entry.alias.scalar_type() ||
        static_cast<int64_t>(tensor._version()) != entry.version)
      return false;
  }
  return true;
}

PackedLinear::PackedLinear(const at::Tensor& weight, const at::Tensor& bias, at::ScalarType type,
                           int64_t rows) {
  static const auto reorder =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("mkldnn::_reorder_linear_weight", "")
          .typed<at::Tensor(const at::Tensor&, std::optional<c10::SymInt>)>();
  weight_ = weight.detach().to(type).contiguous();
  if (type != at::kBFloat16 || packs_bf16()) weight_ = reorder.call(weight_, c10::SymInt(rows));
  if (bias.defined()) bias_ = bias.detach().to(type).contiguous();
}

at::Tensor PackedLinear::operator()(const at::Tensor& x,
                                    std::optional<Activation> activation) const {
  if (!weight_.is_mkldnn()) {
    const auto y = at::linear(x, weight_, bias_);
    return activation ? activate(y, *activation) : y;
  }
  if (!activation) return linear_pointwise(x, weight_, bias_, "none", "");
  switch (*activation) {
    case Activation::gelu:
      return linear_pointwise(x, weight_, bias_, "gelu", "none");
    case Activation::gelu_tanh:
      return linear_pointwise(x, weight_, bias_, "gelu", "tanh");
    case Activation::relu:
      return linear_pointwise(x, weight_, bias_, "relu", "");
    case Activation::silu:
      return linear_pointwise(x, weight_, bias_, "swish", "");
    default:
      return activate(linear_pointwise(x, weight_, bias_, "none", ""), *activation);
  }
}

}  // namespace weft::nn
