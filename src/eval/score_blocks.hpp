#pragma once

#include <algorithm>
#include <cstdint>

#include <torch/types.h>

namespace weft::eval {

inline constexpr int64_t kScoresPerChunk = int64_t{1} << 22;

inline void check_rows(const char* who, const at::Tensor& a, const at::Tensor& b) {
  TORCH_CHECK_VALUE(a.dim() == 2 && b.dim() == 2 && a.size(1) == b.size(1), who,
                    ": both sides must be rows of the same width, got ", a.sizes(), " and ",
                    b.sizes());
  TORCH_CHECK_VALUE(a.size(0) > 0 && b.size(0) > 0, who, ": needs at least one row a side, got ",
                    a.sizes(), " and ", b.sizes());
}

/// The column of each row's highest score, the first of equal ones. scores [B, C] -> [B].
inline at::Tensor first_best(const at::Tensor& scores) {
  const auto columns = at::arange(scores.size(1), scores.options().dtype(at::kLong));
  return at::where(scores == scores.amax(1, true), columns, scores.size(1)).amin(1);
}

/// Calls use(first row, scores [rows, C] in fp32) for blocks of queries @ candidates^T.
template <class Use>
void for_each_block(const char* who, const at::Tensor& queries, const at::Tensor& candidates,
                    Use&& use) {
  const auto columns = candidates.to(at::kFloat).t();  // [E, C]
  const auto rows = std::max<int64_t>(1, kScoresPerChunk / candidates.size(0));
  for (int64_t first = 0; first < queries.size(0); first += rows) {
    const auto count = std::min(rows, queries.size(0) - first);
    const auto scores = queries.narrow(0, first, count).to(at::kFloat).mm(columns);  // [rows, C]
    TORCH_CHECK_VALUE(scores.isfinite().all().item<bool>(), who,
                      ": scores must be finite, got NaN or infinity in rows ", first, " to ",
                      first + count - 1);
    use(first, scores);
  }
}

}  // namespace weft::eval
