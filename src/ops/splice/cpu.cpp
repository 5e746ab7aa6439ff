#include <algorithm>
#include <cstring>
#include <vector>

#include <ATen/Parallel.h>

#include "ops/splice/work.hpp"

namespace weft::ops::cpu {
namespace {

constexpr int64_t kBandBytes = 1 << 18;  // moved by a thread at a time

/// Moves the rows; refuses a count that differs from the visual tokens'.
void move_rows(const kernels::SpliceWork& work) {
  const auto band = std::max<int64_t>(1, kBandBytes / std::max<int64_t>(1, work.row_bytes));
  std::vector<int64_t> before;  // placeholders above each band
  int64_t count = 0;
  for (int64_t row = 0; row < work.rows; ++row) {
    if (row % band == 0) before.push_back(count);
    count += work.placeholder[row];
  }
  TORCH_CHECK_VALUE(count == work.visual_rows, "splice: ", count, " placeholders for ",
                    work.visual_rows, " visual tokens");
  const auto bytes = static_cast<size_t>(work.row_bytes);
  at::parallel_for(0, static_cast<int64_t>(before.size()), 1, [&](int64_t first, int64_t last) {
    for (auto i = first; i < last; ++i) {
      auto above = before[static_cast<size_t>(i)];
      const auto end = std::min(work.rows, (i + 1) * band);
      for (auto row = i * band; row < end; ++row) {
        const auto move = kernels::plan_row(work, row, above);
        if (move.to) std::memcpy(move.to, move.from, bytes);
        if (move.zero) std::memset(move.zero, 0, bytes);
        above += work.placeholder[row];
      }
    }
  });
}

}  // namespace

Tensor splice(const Tensor& embeddings, const Tensor& visual, const Tensor& placeholders) {
  return splice_by(move_rows, embeddings, visual, placeholders.contiguous());
}

std::tuple<Tensor, Tensor> splice_backward(const Tensor& grad, const Tensor& placeholders,
                                           c10::SymInt visual_rows, std::array<bool, 2> wanted) {
  return splice_backward_by(move_rows, grad, placeholders.contiguous(),
                            visual_rows.guard_int(__FILE__, __LINE__), wanted);
}

}  // namespace weft::ops::cpu
