#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>

namespace weft::ops {

/// Which elements of a head's R rotated ones make pair i of R / 2.
enum class RopeLayout {
  half,         ///< i and i + R / 2: transformers (rotate_half), NeoX
  interleaved,  ///< 2i and 2i + 1: the paper, GPT-J, Meta's own Llama checkpoints
};

/// Rotary position embedding (Su et al., 2021, RoFormer, section 3.2.2): pair (a, b) of a head at
/// position t becomes (a cos - b sin, b cos + a sin) by the angle of that pair and position.
///
/// x [B, H, T, D] of any strides (a [B, T, H, D] one by transpose(1, 2)), floating; cos, sin
/// [B or 1, T, R / 2], one number a pair, R <= D: elements from R on stay as they are (partial
/// rotation). transformers' tables hold each number twice: narrow(-1, 0, R / 2) of them (half), or
/// slice(-1, 0, R, 2) (interleaved). Returns x's shape, dtype and, where x is dense, strides. The
/// gradient is the rotation back; cos and sin get none.
///
/// Computed in fp32 (fp64 for fp64) and rounded once; transformers rounds each of its three
/// operations to x's dtype, and cos and sin to it first. In Python:
/// torch.ops.weft.rope(x, cos, sin, interleaved=False).
WEFT_API at::Tensor rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                         RopeLayout layout = RopeLayout::half);

struct RopeTableOptions {
  /// Frequencies for each of the position's axes; their sum is R / 2. Empty: one axis.
  std::vector<int64_t> sections = {};
  /// false: the first sections[0] frequencies turn by axis 0, the next by axis 1 ... (Qwen2-VL,
  /// M-RoPE; Wang et al., 2024, section 2.1). true: axes alternate, frequency 3k + a turning by
  /// axis a for k < sections[a], and the rest by axis 0 (Qwen3-VL).
  bool alternate = false;
  double scale = 1;  ///< multiplies cos and sin: the attention factor of YaRN and LongRoPE
  std::optional<at::ScalarType> dtype = {};  ///< of the tables; default fp32
};

struct RopeTables {
  at::Tensor cos, sin;  ///< [B, T, R / 2]
};

/// The tables of rope(): cos and sin of positions * inv_freq, in fp32 before they are cast.
/// positions [B, T], or [A, B, T] with one row for each of A axes (time, height, width), integer or
/// floating; inv_freq [R / 2].
WEFT_API RopeTables rope_tables(const at::Tensor& positions, const at::Tensor& inv_freq,
                                const RopeTableOptions& options = {});

}  // namespace weft::ops
