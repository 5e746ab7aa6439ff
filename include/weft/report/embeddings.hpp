#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>

namespace weft::report {

/// The directions in which rows vary most.
struct Pca {
  at::Tensor mean;        ///< [D] fp64
  at::Tensor components;  ///< [k, D] fp64, unit length, largest variance first; the entry of
                          ///< largest magnitude of each is positive
  at::Tensor variance;    ///< [k] fp64, along each, over N - 1
  double total = 0;       ///< variance in all D directions
  /// [N, D] -> [N, k] fp64.
  WEFT_API at::Tensor project(const at::Tensor& rows) const;
};

/// rows [N, D], N >= 2; k is cut to D. Eigenvectors of the covariance, in fp64 on the CPU. Throws
/// c10::ValueError on shapes and on values that are not finite.
WEFT_API Pca pca(const at::Tensor& rows, int64_t k = 2);

/// Distance of the means of two modalities' unit rows [N, E] and [M, E] (Liang et al., 2022, Mind
/// the Gap, section 2.2): 0 to 2.
WEFT_API double modality_gap(const at::Tensor& image, const at::Tensor& text);

}  // namespace weft::report
