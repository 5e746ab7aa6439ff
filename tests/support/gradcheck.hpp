#pragma once

#include <functional>
#include <vector>

#include <gtest/gtest.h>

#include <torch/types.h>

namespace weft::test {

/// Holds the analytic gradients of f at `inputs` (fp64 leaves, of every one that requires a
/// gradient) to central differences, element by element: |a - n| <= tolerance * (1 + |n|).
/// f maps the inputs to a tensor of any shape; it is weighed with fixed random numbers.
inline testing::AssertionResult gradcheck(
    const std::function<at::Tensor(const std::vector<at::Tensor>&)>& f,
    const std::vector<at::Tensor>& inputs, double tolerance = 1e-6, double step = 1e-6) {
  at::Tensor weights;
  const auto loss = [&] {
    const auto out = f(inputs);
    if (!weights.defined()) weights = at::rand(out.sizes(), out.options()).add_(0.5).detach();
    return (out * weights).sum();
  };
  std::vector<at::Tensor> wanted;
  for (const auto& input : inputs)
    if (input.requires_grad()) wanted.push_back(input);
  const auto grads = torch::autograd::grad({loss()}, wanted);
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i].scalar_type() != at::kDouble || !wanted[i].is_contiguous())
      return testing::AssertionFailure() << "input " << i << " is not contiguous fp64";
    auto* value = wanted[i].data_ptr<double>();
    const auto grad = grads[i].contiguous();
    for (int64_t j = 0; j < wanted[i].numel(); ++j) {
      const double before = value[j];
      value[j] = before + step;
      const double above = loss().item<double>();
      value[j] = before - step;
      const double below = loss().item<double>();
      value[j] = before;
      const double numeric = (above - below) / (2 * step);
      const double analytic = grad.const_data_ptr<double>()[j];
      if (!(std::abs(analytic - numeric) <= tolerance * (1 + std::abs(numeric))))
        return testing::AssertionFailure() << "input " << i << ", element " << j << ": analytic "
                                           << analytic << ", numeric " << numeric;
    }
  }
  return testing::AssertionSuccess();
}

/// A module's parameters after a move to fp64.
inline std::vector<at::Tensor> fp64_parameters(torch::nn::Module& module) {
  module.to(at::kDouble);
  return module.parameters();
}

/// max |a - b| / max |b|.
inline double relative_error(const at::Tensor& a, const at::Tensor& b) {
  return ((a.to(at::kDouble) - b.to(at::kDouble)).abs().max() /
          b.to(at::kDouble).abs().max().clamp_min(1e-30))
      .item<double>();
}

/// Gives every parameter numbers of its own, so that no term is hidden by a 0 or a 1.
template <class Holder>
void randomize(Holder& module) {
  const at::NoGradGuard no_grad;
  at::manual_seed(7);
  for (auto& p : module->parameters()) p.uniform_(-0.5, 0.9);
}

}  // namespace weft::test
