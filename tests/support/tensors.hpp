#pragma once

#include <cmath>
#include <string>

#include <gtest/gtest.h>

#include <ATen/ATen.h>

namespace weft::test {

/// max|a - b|, in fp64.
inline double max_difference(const at::Tensor& a, const at::Tensor& b) {
  if (a.numel() == 0) return 0;
  return (a.detach().to(at::kDouble) - b.detach().to(at::kDouble)).abs().max().item<double>();
}

inline double max_norm(const at::Tensor& a) {
  return a.numel() == 0 ? 0 : a.detach().to(at::kDouble).abs().max().item<double>();
}

/// Succeeds where max|actual - expected| <= tolerance * max|expected|; `floor` replaces a smaller
/// max|expected|, for tensors that are 0 but for rounding.
inline testing::AssertionResult close(const at::Tensor& actual, const at::Tensor& expected,
                                      double tolerance, double floor = 0) {
  if (!actual.defined()) return testing::AssertionFailure() << "the tensor is undefined";
  if (actual.sizes() != expected.sizes())
    return testing::AssertionFailure()
           << "shape " << c10::str(actual.sizes()) << ", expected " << c10::str(expected.sizes());
  const auto difference = max_difference(actual, expected);
  const auto scale = std::max(max_norm(expected), floor);
  if (difference <= tolerance * scale) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "max|a - b| = " << difference << ", allowed "
                                     << tolerance * scale << " = " << tolerance << " * " << scale;
}

}  // namespace weft::test
