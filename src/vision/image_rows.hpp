#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>

namespace weft::vision {

/// EncoderInput.images of images whose tiles come to lie one after the other.
class ImageRows {
 public:
  /// Images of `tiles` tiles in all; their rows [I, 6] or [6], the first tiles counted from 0, or
  /// undefined.
  void add(const at::Tensor& rows, int64_t tiles) {
    if (rows.defined()) {
      auto placed = rows.reshape({-1, 6}).clone();
      placed.select(1, 0).add_(tiles_);
      rows_.push_back(placed);
    }
    tiles_ += tiles;
  }
  /// [I, 6]; undefined where no image has a row.
  at::Tensor images() const { return rows_.empty() ? at::Tensor() : at::cat(rows_); }

 private:
  std::vector<at::Tensor> rows_;
  int64_t tiles_ = 0;
};

}  // namespace weft::vision
