#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>

namespace weft::nn {

/// How scores come of queries and keys.
struct AttentionScores {
  at::Tensor allowed = {};  ///< undefined or bool, as [B, 1|H, N, M] expands (true = may attend)
  bool causal = false;      ///< where `allowed` is undefined
  double scale = 0.0;       ///< 0 = 1 / sqrt(d)
  double soft_cap = 0.0;    ///< 0 = none
};

/// The softmax of the scores, [B, H, N, M], in fp32 at least, of queries [B, H, N, d] and keys
/// [B, H', M, d], H a multiple of H'.
WEFT_API at::Tensor attention_weights(const at::Tensor& queries, const at::Tensor& keys,
                                      const AttentionScores& how);

struct AttentionRecordOptions {
  int64_t last_queries = 0;  ///< keep the weights of this many of the last queries; 0 = of all
  bool mean_heads = false;   ///< keep their mean over the heads, H = 1
};

/// While it lives, every Attention that runs on this thread also keeps its weights here, the
/// softmax of its scores, which the fused kernels never write down.
///
///     AttentionRecord record;
///     encoder->encode({.data = pixels});
///     record.weights();                             // a tensor [B, H, N, M] a layer
///
/// The newest record on a thread takes them. Encoders leave the fast path (nn/inference.hpp)
/// meanwhile, and everything costs more time and memory: for looking, not for training.
class WEFT_API AttentionRecord {
 public:
  explicit AttentionRecord(const AttentionRecordOptions& options = {});
  ~AttentionRecord();
  AttentionRecord(const AttentionRecord&) = delete;
  AttentionRecord& operator=(const AttentionRecord&) = delete;

  /// In the order in which the layers ran, each [B, H, N, M] in fp32 (fp64 of a model of doubles),
  /// without a graph, or what the options leave of it. Rows sum to 1.
  const std::vector<at::Tensor>& weights() const { return weights_; }

  /// The newest one of this thread; null where there is none.
  static AttentionRecord* current();
  /// Keeps the weights of these queries and keys.
  void add(const at::Tensor& queries, const at::Tensor& keys, const AttentionScores& how);

 private:
  AttentionRecordOptions options_;
  AttentionRecord* previous_;
  std::vector<at::Tensor> weights_;
};

}  // namespace weft::nn
