#include "eval/lbfgs.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <vector>

#include <torch/types.h>

namespace weft::eval {
namespace {

constexpr double kDecrease = 1e-4, kCurvature = 0.9, kRounding = 1e-13;
constexpr int kMaxTrials = 60;

double product_of(const at::Tensor& a, const at::Tensor& b) { return a.dot(b).item<double>(); }

struct Pair {
  at::Tensor step, change;  // of x and of the gradient
  double inverse;           // 1 / (step . change)
};

/// -H gradient by the two-loop recursion.
at::Tensor direction(const std::deque<Pair>& pairs, const at::Tensor& gradient) {
  auto q = gradient.neg();
  std::vector<double> alpha(pairs.size());
  for (size_t i = pairs.size(); i-- > 0;) {
    alpha[i] = pairs[i].inverse * product_of(pairs[i].step, q);
    q.sub_(pairs[i].change, alpha[i]);
  }
  if (!pairs.empty()) {
    const auto& last = pairs.back();
    q.mul_(1 / (last.inverse * product_of(last.change, last.change)));
  }
  for (size_t i = 0; i < pairs.size(); ++i)
    q.add_(pairs[i].step, alpha[i] - pairs[i].inverse * product_of(pairs[i].change, q));
  return q;
}

}  // namespace

LbfgsResult lbfgs(const Objective& objective, at::Tensor x, const LbfgsOptions& options) {
  LbfgsResult out;
  auto [value, gradient] = objective(x);
  std::deque<Pair> pairs;
  for (;; ++out.iterations) {
    out.gradient = gradient.abs().max().item<double>();
    out.converged = out.gradient <= options.tolerance;
    if (out.converged || out.iterations == options.max_iterations) break;
    auto d = direction(pairs, gradient);
    auto slope = product_of(d, gradient);
    if (!(slope < 0)) {
      pairs.clear();
      d = gradient.neg();
      slope = -product_of(gradient, gradient);
    }
    double step = pairs.empty() ? std::min(1.0, 1 / gradient.abs().sum().item<double>()) : 1;
    double low = 0, high = std::numeric_limits<double>::infinity();
    bool found = false;
    for (int trial = 0; trial < kMaxTrials && !found; ++trial) {
      auto next = x.add(d, step);
      auto [next_value, next_gradient] = objective(next);
      const auto next_slope = product_of(d, next_gradient);
      const bool decreased = next_value <= value + kDecrease * step * slope ||
                             (next_value <= value + kRounding * std::abs(value) &&
                              next_slope <= (2 * kDecrease - 1) * slope);
      if (!decreased) {
        high = step;
      } else if (next_slope < kCurvature * slope) {
        low = step;
      } else {
        found = true;
        const auto s = next - x, y = next_gradient - gradient;
        const auto curvature = product_of(s, y);
        if (curvature > 0) pairs.push_back({s, y, 1 / curvature});
        if (static_cast<int64_t>(pairs.size()) > options.history) pairs.pop_front();
        x = next;
        value = next_value;
        gradient = next_gradient;
      }
      step = std::isinf(high) ? 2 * step : (low + high) / 2;
    }
    if (!found) break;
  }
  out.x = x;
  out.value = value;
  return out;
}

}  // namespace weft::eval
