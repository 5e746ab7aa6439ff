#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/nn/activations.hpp>

/// The fast path of frozen encoders: gradients off and bf16 autocast on, on the CPU. Weights are
/// cast, joined, scaled and packed once instead of once a batch, and are made again when a
/// parameter changes. The plain path, which every module has, is its reference.
namespace weft::nn {

/// Whether the fast path holds for a module whose input is `x`.
WEFT_API bool inference_applies(const at::Tensor& x, bool training);

/// What matrices are multiplied in there: bf16 where the processor can (AVX512-BF16, AMX), else
/// fp32, since emulated bf16 is several times slower and less exact.
WEFT_API at::ScalarType inference_type();
/// Overrides that on this thread while it lives; for tests.
class WEFT_API InferenceTypeGuard {
 public:
  explicit InferenceTypeGuard(at::ScalarType type);
  ~InferenceTypeGuard();
  InferenceTypeGuard(const InferenceTypeGuard&) = delete;
  InferenceTypeGuard& operator=(const InferenceTypeGuard&) = delete;

 private:
  std::optional<at::ScalarType> previous_;
};

/// Remembers tensors, and tells whether they are the same and unchanged since.
class WEFT_API TensorStamp {
 public:
  void set(const std::vector<at::Tensor>& tensors);
  bool matches(const std::vector<at::Tensor>& tensors) const;

 private:
  struct Entry {
    at::Tensor alias;  // keeps the storage, so that its address is not used again
    int64_t version;
  };
  std::vector<Entry> entries_;
};

/// act(x W^T + b) with W in the processor's own layout.
class WEFT_API PackedLinear {
 public:
  PackedLinear() = default;
  /// weight [out, in]; bias [out] or undefined; `rows` is the usual count of x's rows.
  PackedLinear(const at::Tensor& weight, const at::Tensor& bias, at::ScalarType type, int64_t rows);
  /// x [..., in] of `type` -> [..., out] of `type`.
  at::Tensor operator()(const at::Tensor& x,
                        std::optional<Activation> activation = std::nullopt) const;

 private:
  at::Tensor weight_, bias_;
};

}  // namespace weft::nn
