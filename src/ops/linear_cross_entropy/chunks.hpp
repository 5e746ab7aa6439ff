#pragma once

#include <algorithm>
#include <array>

#include <ATen/Functions.h>

#include "ops/huge_pages.hpp"
#include "ops/linear_cross_entropy/backends.hpp"

namespace weft::ops {

/// The gradients of a call in [M, D], [V, D] and [V]; the weight's and the bias's are sums over
/// chunks of rows. [0] where not wanted.
struct ChunkSums {
  Tensor x, weight, bias;

  /// type: of the gradients; real: the accumulation type, which one chunk alone does not need.
  ChunkSums(const Tensor& rows, const Tensor& classes, bool one_chunk, at::ScalarType type,
            at::ScalarType real, const Wanted& wanted) {
    const auto made = [&](bool is_wanted, at::IntArrayRef sizes, at::ScalarType dtype) {
      return with_huge_pages(
          at::empty(is_wanted ? sizes : at::IntArrayRef({0}), rows.options().dtype(dtype)));
    };
    x = made(wanted[0], rows.sizes(), type);
    weight = made(wanted[1], classes.sizes(), one_chunk ? type : real);
    bias = made(wanted[2], {classes.size(0)}, real).zero_();
    if (wanted[1] && rows.size(0) == 0) weight.zero_();
  }

  /// Adds g^T x of a chunk: product(a, b) of `classes` rows at a time where g is rounded to less
  /// than the sum.
  template <class Product>
  void add_to_weight(const Tensor& g, const Tensor& rows, bool is_first, int64_t classes,
                     const Product& product) {
    if (weight.scalar_type() == g.scalar_type()) {
      if (is_first)
        at::mm_out(weight, g.t(), rows);
      else
        weight.addmm_(g.t(), rows);
      return;
    }
    for (int64_t begin = 0; begin < weight.size(0); begin += classes) {
      const auto count = std::min(classes, weight.size(0) - begin);
      const auto part = product(g.narrow(1, begin, count).t(), rows);
      const auto sum = weight.narrow(0, begin, count);
      if (is_first)
        sum.copy_(part);
      else
        sum.add_(part);
    }
  }
};

/// Rows of a chunk: equal shares, of at most `most` rows.
inline int64_t chunk_rows(int64_t rows, int64_t most) {
  const auto chunks = std::max<int64_t>(1, (rows + most - 1) / most);
  return (rows + chunks - 1) / chunks;
}

/// Values [M, ...] of the labelled rows -> [rows, ...], 0 elsewhere.
inline Tensor spread_rows(const Tensor& values, const Tensor& index, int64_t rows) {
  if (values.size(0) == rows) return values;
  auto sizes = values.sizes().vec();
  sizes[0] = rows;
  return at::zeros(sizes, values.options()).index_copy_(0, index, values);
}

/// A matrix that products read without a copy.
inline Tensor as_operand(const Tensor& matrix) {
  return matrix.stride(0) == 1 || matrix.stride(1) == 1 ? matrix : matrix.contiguous();
}

}  // namespace weft::ops
