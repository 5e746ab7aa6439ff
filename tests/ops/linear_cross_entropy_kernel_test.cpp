// The arithmetic of the CUDA kernel, run on the CPU: the same functions that kernels.cu compiles
// for the device, row by row and thread by thread.
#include <limits>

#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <torch/types.h>

#include "ops/linear_cross_entropy/kernels.hpp"
#include "support/tensors.hpp"

namespace linear_cross_entropy_kernel_test {

using at::Tensor;
using weft::ops::cuda::LossWork;
using weft::ops::cuda::RowPart;
using weft::test::close;

struct Options {
  double smoothing = 0, z_loss = 0, softcap = 0;
};

struct Result {
  Tensor losses, gradient;
};

// PyTorch's loss of logits [N, V], and its gradient by autograd.
static Result definition(const Tensor& products, const Tensor& bias, const Tensor& labels,
                         const Tensor& row_grad, const Options& options) {
  const auto leaf = products.detach().to(at::kDouble).requires_grad_(true);
  auto logits = leaf + bias.to(at::kDouble);
  if (options.softcap > 0) logits = options.softcap * (logits / options.softcap).tanh();
  const auto losses =
      at::cross_entropy_loss(logits, labels, {}, at::Reduction::None, -100, options.smoothing) +
      options.z_loss * logits.logsumexp(1).square();
  (losses * row_grad.to(at::kDouble)).sum().backward();
  return {losses.detach(), leaf.grad()};
}

template <class T, class Real>
static Result on_cpu(const Tensor& products, const Tensor& bias, const Tensor& labels,
                     const Tensor& row_grad, const Options& options, uint32_t threads) {
  constexpr uint32_t kVector = 16 / sizeof(T);
  const auto n = products.size(0), v = products.size(1);
  const auto stride = (v + kVector - 1) / kVector * kVector;
  const auto rows = at::zeros({n, stride}, products.options());
  const auto logits = rows.narrow(1, 0, v);
  logits.copy_(products);
  const auto real = c10::CppTypeToScalarType<Real>::value;
  const auto grads = row_grad.to(real), losses = at::empty({n}, at::dtype(real));
  LossWork<T, Real> work;
  work.logits = rows.mutable_data_ptr<T>();
  work.bias = bias.const_data_ptr<T>();
  work.labels = labels.const_data_ptr<int64_t>();
  work.row_grad = grads.template const_data_ptr<Real>();
  work.rows = n;
  work.classes = v;
  work.stride = stride;
  work.smoothing = static_cast<Real>(options.smoothing);
  work.z_loss = static_cast<Real>(options.z_loss);
  work.softcap = static_cast<Real>(options.softcap);
  for (int64_t row = 0; row < n; ++row) {
    const auto label = work.labels[row];
    const auto own = logit_of(work, work.logits[row * stride + label], label);
    RowPart<Real> whole;
    for (uint32_t t = 0; t < threads; ++t)
      whole.add(weft::ops::cuda::read_part<kVector>(work, row, t, threads));
    const auto softmax = finish_row(work, whole, own);
    losses[row] = softmax.loss;
    for (uint32_t t = 0; t < threads; ++t)
      weft::ops::cuda::write_part<kVector>(work, row, softmax, t, threads);
  }
  EXPECT_TRUE(at::equal(rows.narrow(1, v, stride - v), at::zeros({n, stride - v}, rows.options())));
  return {losses, logits};
}

template <class T, class Real>
static void expect_definition(at::ScalarType dtype, double forward, double backward) {
  torch::manual_seed(0);
  for (const int64_t v : {1, 2, 7, 8, 9, 515, 4099}) {
    const auto products = (4 * at::randn({5, v}, at::kDouble)).to(dtype);
    const auto bias = at::randn({v}, at::kDouble).to(dtype);
    const auto labels = at::randint(v, {5}, at::kLong);
    const auto row_grad = at::rand({5}, at::kDouble);
    for (const auto& options :
         {Options{}, Options{.smoothing = 0.1}, Options{.z_loss = 0.01}, Options{.softcap = 6},
          Options{.smoothing = 0.2, .z_loss = 0.02, .softcap = 5}}) {
      for (const uint32_t threads : {1, 3, 512}) {
        SCOPED_TRACE(testing::Message() << v << " classes, " << threads << " threads");
        const auto expected = definition(products, bias, labels, row_grad, options);
        const auto got = on_cpu<T, Real>(products, bias, labels, row_grad, options, threads);
        EXPECT_TRUE(close(got.losses, expected.losses, forward, 1e-3));
        EXPECT_TRUE(close(got.gradient, expected.gradient, backward, 1e-3));
      }
    }
  }
}

TEST(LinearCrossEntropyKernel, EqualsTheDefinitionForEveryDtypeWidthAndOption) {
  expect_definition<double, double>(at::kDouble, 1e-13, 1e-12);
  expect_definition<float, float>(at::kFloat, 1e-5, 1e-5);
  expect_definition<c10::BFloat16, float>(at::kBFloat16, 1e-5, 4e-3);  // gradients are rounded
  expect_definition<c10::Half, float>(at::kHalf, 1e-5, 1e-3);
}

TEST(LinearCrossEntropyKernel, InfiniteAndMissingNumbers) {
  const float infinity = std::numeric_limits<float>::infinity();
  const auto nan = std::numeric_limits<float>::quiet_NaN();
  const auto products = at::tensor({-infinity, -infinity, 1.F, 2.F, -infinity, -infinity,   //
                                    -infinity, -infinity, 3.F, -infinity, -infinity, -1.F,  //
                                    1.F, nan, 1.F, 2.F, 3.F, 4.F})
                            .view({3, 6});
  const auto labels = at::tensor({int64_t{2}, int64_t{2}, int64_t{0}});
  const auto zeros = at::zeros({6}), ones = at::ones({3});
  for (const uint32_t threads : {1, 2, 32}) {
    const auto got = on_cpu<float, float>(products, zeros, labels, ones, {}, threads);
    const auto some = products.narrow(0, 0, 2);
    const auto expected = definition(some, zeros, labels.narrow(0, 0, 2), ones.narrow(0, 0, 2), {});
    EXPECT_TRUE(close(got.losses.narrow(0, 0, 2), expected.losses, 1e-6));
    EXPECT_TRUE(close(got.gradient.narrow(0, 0, 2), expected.gradient, 1e-6));
    EXPECT_TRUE(got.losses[2].isnan().item<bool>());
    EXPECT_TRUE(got.gradient[2].isnan().all().item<bool>());
  }
}

}  // namespace linear_cross_entropy_kernel_test
