#include <cmath>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <weft/nn/init.hpp>

namespace weft::nn {
namespace {

thread_local bool no_init = false;

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

}  // namespace

at::Tensor trunc_normal_(at::Tensor tensor, double mean, double std, double low, double high) {
  TORCH_CHECK_VALUE(std > 0 && low < high,
                    "trunc_normal_: std must be positive and low < high, got std ", std, ", [", low,
                    ", ", high, "]");
  const at::NoGradGuard no_grad;
  const auto from = normal_cdf((low - mean) / std), to = normal_cdf((high - mean) / std);
  TORCH_CHECK_VALUE(to > from, "trunc_normal_: [", low, ", ", high,
                    "] holds no mass of the normal distribution with mean ", mean, " and std ",
                    std);
  return tensor.uniform_(2 * from - 1, 2 * to - 1)
      .erfinv_()
      .mul_(std * std::sqrt(2.0))
      .add_(mean)
      .clamp_(low, high);
}

NoInitGuard::NoInitGuard() : previous_(no_init) { no_init = true; }
NoInitGuard::~NoInitGuard() { no_init = previous_; }
bool NoInitGuard::active() { return no_init; }

at::Tensor init_weight(at::Tensor tensor, double std) {
  if (no_init) return tensor;
  if (std == 0) return init_constant(tensor, 0);
  return trunc_normal_(tensor, 0, std, -2, 2);
}

at::Tensor init_constant(at::Tensor tensor, double value) {
  const at::NoGradGuard no_grad;
  return no_init ? tensor : tensor.fill_(value);
}

at::Tensor init_normal(at::Tensor tensor, double std) {
  const at::NoGradGuard no_grad;
  return no_init ? tensor : tensor.normal_(0, std);
}

at::Tensor init_uniform(at::Tensor tensor, double bound) {
  const at::NoGradGuard no_grad;
  return no_init ? tensor : tensor.uniform_(-bound, bound);
}

}  // namespace weft::nn
