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

/// The mean of |a - b|^alpha over pairs, the rows of a and b [N, E] (Wang and Isola, 2020,
/// Understanding Contrastive Representation Learning, section 4.1.1): how far pairs lie apart, 0 at
/// best.
WEFT_API double alignment(const at::Tensor& a, const at::Tensor& b, double alpha = 2);

/// ln of the mean of exp(-t |x - y|^2) over all pairs of different rows [N, E], N >= 2 (the same,
/// section 4.1.2): how evenly unit rows cover the sphere, 0 where all are one point, less is more
/// even. Memory beyond the rows is a few MB.
WEFT_API double uniformity(const at::Tensor& rows, double t = 2);

/// The mean cosine of two different rows of unit rows [N, E], N >= 2: 0 for rows all over the
/// sphere, near 1 for rows in a narrow cone (Liang et al., 2022, section 3).
WEFT_API double mean_cosine(const at::Tensor& rows);

}  // namespace weft::report
