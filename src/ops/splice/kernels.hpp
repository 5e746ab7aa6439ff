#pragma once

#include <cstdint>

#include "ops/pack.hpp"

struct CUstream_st;

// Free of torch and of CUDA's headers: kernels.cu runs these functions on the device, cpu.cpp and
// the tests run them on the CPU.
namespace weft::ops::kernels {

/// Rows of bytes. Forward: out is embeddings with `visual` at the placeholders. Backward, where
/// `grad` is given: grad goes to embeddings_grad and visual_grad, either of which may be null.
struct SpliceWork {
  const uint8_t* placeholder = nullptr;  // [rows], 0 or 1
  int64_t rows = 0, visual_rows = 0, row_bytes = 0;
  const uint8_t *embeddings = nullptr, *visual = nullptr;
  uint8_t* out = nullptr;
  const uint8_t* grad = nullptr;
  uint8_t *embeddings_grad = nullptr, *visual_grad = nullptr;
};

/// What becomes of a row: `from` is copied to `to`, and `zero` is filled with 0; null: nothing.
struct RowMove {
  const uint8_t* from = nullptr;
  uint8_t *to = nullptr, *zero = nullptr;
};

/// `before`: placeholders above this row. A placeholder without a visual token counts as none.
WEFT_HOST_DEVICE inline RowMove plan_row(const SpliceWork& work, int64_t row, int64_t before) {
  const auto at = [&](auto* base, int64_t i) { return base ? base + i * work.row_bytes : base; };
  const bool visual = work.placeholder[row] != 0 && before < work.visual_rows;
  RowMove move;
  if (!work.grad) {
    move.from = visual ? at(work.visual, before) : at(work.embeddings, row);
    move.to = at(work.out, row);
    return move;
  }
  move.from = at(work.grad, row);
  auto* const embeddings = at(work.embeddings_grad, row);
  move.to = visual ? at(work.visual_grad, before) : embeddings;
  move.zero = visual ? embeddings : nullptr;
  return move;
}

}  // namespace weft::ops::kernels

namespace weft::ops::cuda {

constexpr uint32_t kSpliceThreads = 256;
constexpr int64_t kSpliceBands = 2048;  // at most; each counts the placeholders above it by itself

/// This thread's share of the placeholders in rows [0, end). The mask is aligned to 16 bytes.
WEFT_HOST_DEVICE inline uint32_t count_share(const uint8_t* placeholder, int64_t end,
                                             uint32_t thread, uint32_t threads) {
  constexpr uint32_t kPack = 16;
  uint32_t count = 0;
  const auto whole = end / kPack * kPack;
  for (auto i = static_cast<int64_t>(thread) * kPack; i < whole;
       i += static_cast<int64_t>(threads) * kPack) {
    const auto pack = load_pack<kPack>(placeholder + i);
    for (const auto value : pack.value) count += value;
  }
  for (auto i = whole + thread; i < end; i += threads) count += placeholder[i];
  return count;
}

/// This thread's share of a row, in pieces of kBytes.
template <uint32_t kBytes>
WEFT_HOST_DEVICE void move_share(const kernels::RowMove& move, int64_t row_bytes, uint32_t thread,
                                 uint32_t threads) {
  const auto step = static_cast<int64_t>(threads) * kBytes;
  for (auto i = static_cast<int64_t>(thread) * kBytes; i < row_bytes; i += step) {
    if (move.to) store_pack(load_pack<kBytes>(move.from + i), move.to + i);
    if (move.zero) store_pack(Pack<uint8_t, kBytes>{}, move.zero + i);
  }
}

/// The widest pieces that row size and alignment allow: 16, 4 or 1 bytes.
inline uint32_t piece_bytes(const kernels::SpliceWork& work) {
  auto bits = static_cast<uint64_t>(work.row_bytes);
  for (const auto* base : {work.embeddings, work.visual, work.grad})
    bits |= reinterpret_cast<uint64_t>(base);
  for (const auto* base : {work.out, work.embeddings_grad, work.visual_grad})
    bits |= reinterpret_cast<uint64_t>(base);
  return bits % 16 == 0 ? 16 : bits % 4 == 0 ? 4 : 1;
}

/// Launches the kernel on the current device; errors are left to cudaGetLastError.
void launch_splice(const kernels::SpliceWork& work, CUstream_st* stream);

}  // namespace weft::ops::cuda
