#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/core/json.hpp>
#include <weft/core/options.hpp>

namespace weft::eval {

/// A multinomial logistic regression: scores = x weight^T + bias.
struct LogisticFit {
  at::Tensor weight;  ///< [C, D] fp64
  at::Tensor bias;    ///< [C] fp64
  double c = 1;
  double objective = 0;  ///< at the end
  double gradient = 0;   ///< the largest |derivative| at the end
  int64_t iterations = 0;
  bool converged = false;  ///< gradient <= tolerance
};

struct LogisticOptions {
  double c = 1;  ///< scikit-learn's C, the inverse of the penalty
  int64_t max_iterations = 1000;
  double tolerance = 1e-5;
};

/// Minimises, over weight and bias,
///   mean over samples of the cross-entropy + |weight|^2 / (2 c N),
/// which is scikit-learn's LogisticRegression(C=c) divided by c N (the bias is free, and two
/// classes are a softmax as well), by full-batch L-BFGS in fp64 from 0 on the features' device.
/// features [N, D] of any floating type; labels [N] int64 in [0, classes). Throws c10::ValueError
/// on shapes, labels, features that are not finite and c <= 0.
WEFT_API LogisticFit fit_logistic(const at::Tensor& features, const at::Tensor& labels,
                                  int64_t classes, const LogisticOptions& options = {});

struct LinearProbeOptions {
  std::optional<double> c = {};  ///< fixed; otherwise swept
  bool standardize = false;      ///< features to mean 0 and deviation 1 over the training part
  double held_out = 0.2;         ///< share of each class's training samples that the sweep scores
  int64_t max_iterations = 1000;
  double tolerance = 1e-5;
  int64_t seed = 0;  ///< of the held-out samples

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("c", o.c, "inverse of the penalty, as scikit-learn's C; by default swept");
    v("standardize", o.standardize, "features to mean 0 and deviation 1");
    v("held_out", o.held_out, "share of the training samples on which the sweep scores");
    v("max_iterations", o.max_iterations, "of L-BFGS");
    v("tolerance", o.tolerance, "largest derivative at the end");
    v("seed", o.seed, "of the held-out samples");
  }
};

struct LinearProbe {
  LogisticFit fit = {};
  at::Tensor mean = {}, scale = {};  ///< [D] fp64: what is taken off and divided by; or undefined
  std::vector<std::pair<double, double>> sweep = {};  ///< (C, held-out accuracy), C ascending
  /// [N, D] -> [N, C] fp64.
  WEFT_API at::Tensor scores(const at::Tensor& features) const;
  /// {"c", "objective", "gradient", "iterations", "converged", "sweep": [{"c", "accuracy"}]}
  WEFT_API Json json() const;
};

/// Fits a linear classifier on features, as CLIP is probed (Radford et al., 2021, appendix A.3): C
/// between 1e-6 and 1e6 at 8 steps a decade, of which a parametric binary search tries 1e-6, 1e-4
/// ... 1e6 and then the neighbours of the best at half the distance, down to one step; of equally
/// good ones the smallest C. The chosen one is fitted again on all samples.
/// Differs from it: the score is taken on a part of each class's training samples, drawn by the
/// seed, not on a validation set of its own.
WEFT_API LinearProbe linear_probe(const at::Tensor& features, const at::Tensor& labels,
                                  int64_t classes, const LinearProbeOptions& options = {});

}  // namespace weft::eval
