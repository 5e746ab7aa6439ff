#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include <ATen/core/Tensor.h>

namespace weft::eval {

struct LbfgsOptions {
  int64_t max_iterations = 1000;
  double tolerance = 1e-5;  ///< of the largest |derivative|
  int64_t history = 10;
};

struct LbfgsResult {
  at::Tensor x;
  double value = 0, gradient = 0;
  int64_t iterations = 0;
  bool converged = false;
};

/// x [P] fp64 -> the value and its gradient [P].
using Objective = std::function<std::pair<double, at::Tensor>(const at::Tensor& x)>;

/// Minimises a smooth function by L-BFGS (Nocedal and Wright, 2006, algorithm 7.4) with a
/// bisection for the weak Wolfe conditions (Lewis and Overton, 2013, algorithm 4.6); where rounding
/// hides the decrease, Hager and Zhang's approximate condition (2005, equation 4.1) takes the first
/// one's place. Ends without convergence where no step is found.
LbfgsResult lbfgs(const Objective& objective, at::Tensor x, const LbfgsOptions& options);

}  // namespace weft::eval
