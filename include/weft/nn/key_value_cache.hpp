#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>

namespace weft::nn {

/// Keys and values of one layer's earlier tokens. The buffers grow by doubling, so that a token
/// costs no copy of the others.
class WEFT_API KeyValues {
 public:
  /// keys, values [B, H', T, d], without a graph. Returns those of all tokens so far, [B, H', S,
  /// d], views that hold until the next call.
  std::pair<at::Tensor, at::Tensor> append(const at::Tensor& keys, const at::Tensor& values);
  int64_t length() const { return length_; }
  /// Forgets all tokens from `length` on.
  void truncate(int64_t length);
  /// Row i becomes the former row rows[i]; rows [B'] int64.
  void reorder(const at::Tensor& rows);
  /// Makes room, so that no growth is needed up to `length` tokens; applies at the next append.
  void reserve(int64_t length) { reserved_ = length; }

 private:
  at::Tensor keys_, values_;  // [B, H', capacity, d]
  int64_t length_ = 0;
  int64_t reserved_ = 0;
};

/// What a decoder keeps between calls, owned by the caller: a layer's keys and values each, and a
/// slot for each hook.
struct WEFT_API KeyValueCache {
  std::vector<KeyValues> layers = {};
  std::vector<std::vector<at::Tensor>> hooks = {};  ///< what each LayerHook keeps, in their order

  int64_t length() const { return layers.empty() ? 0 : layers.front().length(); }
  void truncate(int64_t length);
  void reorder(const at::Tensor& rows);
  /// For a decoder of `num_layers` layers, before its first call.
  void reserve(int64_t num_layers, int64_t length);
};

}  // namespace weft::nn
