// The arithmetic of the CUDA kernel, run on the CPU: the same functions that kernels.cu compiles
// for the device, thread by thread.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <torch/types.h>

#include "ops/gated_linear/kernels.hpp"
#include "support/tensors.hpp"

namespace gated_linear_kernel_test {

using at::Tensor;
using weft::ops::GateActivation;
using weft::ops::kernels::GatedWork;
using weft::test::close;

static Tensor activated(const Tensor& x, GateActivation activation) {
  if (activation == GateActivation::silu) return at::silu(x);
  return at::gelu(x, activation == GateActivation::gelu ? "none" : "tanh");
}

struct Pass {
  Tensor grad, gate, up, product, gate_grad, up_grad;  // undefined: not wanted

  template <class T>
  GatedWork<T> work(GateActivation activation) const {
    const auto in = [](const Tensor& t) { return t.defined() ? t.const_data_ptr<T>() : nullptr; };
    const auto out = [](const Tensor& t) {
      return t.defined() ? t.mutable_data_ptr<T>() : nullptr;
    };
    GatedWork<T> made;
    made.grad = in(grad);
    made.gate = in(gate);
    made.up = in(up);
    made.product = out(product);
    made.gate_grad = out(gate_grad);
    made.up_grad = out(up_grad);
    made.count = gate.numel();
    made.activation = activation;
    return made;
  }
};

template <class T>
static void run_threads(const GatedWork<T>& work, int64_t threads) {
  weft::ops::cuda::with_gated_case(work, [&](auto vector, auto activation, auto backward) {
    for (int64_t thread = 0; thread < threads; ++thread)
      weft::ops::cuda::gate_share<decltype(vector)::value, decltype(activation)::value,
                                  decltype(backward)::value>(work, thread, threads);
  });
}

template <class T>
static void expect_definition(at::ScalarType dtype, double tolerance) {
  torch::manual_seed(0);
  for (const int64_t count : {1, 7, 8, 9, 63, 517}) {
    for (const int64_t skip : {0, 1}) {  // aligned or not
      const auto make = [&](double scale) {
        return (scale * at::randn({count + 1}, at::kDouble)).to(dtype).narrow(0, skip, count);
      };
      const auto gate = make(3), up = make(1), grad = make(1);
      for (const auto activation :
           {GateActivation::silu, GateActivation::gelu, GateActivation::gelu_tanh}) {
        const auto g = gate.to(at::kDouble).clone().requires_grad_(true);
        const auto u = up.to(at::kDouble).clone().requires_grad_(true);
        const auto product = activated(g, activation) * u;
        product.backward(grad.to(at::kDouble));
        for (const int64_t threads : {1, 3, 256}) {
          for (int which = 0; which < 8; ++which) {
            SCOPED_TRACE(testing::Message() << count << " elements, " << skip << ' ' << threads
                                            << " threads, " << which);
            const auto room = [&](int bit) {
              return ((which >> bit) & 1) != 0
                         ? at::full({count + 1}, 77, at::dtype(dtype)).narrow(0, skip, count)
                         : Tensor();
            };
            const Pass pass = {grad, gate, up, room(0), room(1), room(2)};
            run_threads(pass.work<T>(activation), threads);
            if (pass.product.defined()) {
              EXPECT_TRUE(close(pass.product, product, tolerance, 1));
            }
            if (pass.gate_grad.defined()) {
              EXPECT_TRUE(close(pass.gate_grad, g.grad(), tolerance, 1));
            }
            if (pass.up_grad.defined()) {
              EXPECT_TRUE(close(pass.up_grad, u.grad(), tolerance, 1));
            }
          }
          const Pass forward = {
              Tensor(), gate,
              up,       at::full({count + 1}, 77, at::dtype(dtype)).narrow(0, skip, count),
              Tensor(), Tensor()};
          run_threads(forward.work<T>(activation), threads);
          EXPECT_TRUE(close(forward.product, product, tolerance, 1));
        }
      }
    }
  }
}

TEST(GatedLinearKernel, EqualsTheDefinitionForEveryDtypeWidthAndOutput) {
  expect_definition<double>(at::kDouble, 1e-14);
  expect_definition<float>(at::kFloat, 2e-6);
  expect_definition<c10::BFloat16>(at::kBFloat16, 4e-3);
  expect_definition<c10::Half>(at::kHalf, 5e-4);
}

// The accesses that the speed rests on.
TEST(GatedLinearKernel, PacksAreAsWideAsAlignmentAllows) {
  const auto whole = at::zeros({65}, at::kBFloat16);
  const auto width = [](const Tensor& up, const Tensor& product) {
    const Pass pass = {Tensor(), at::zeros({64}, at::kBFloat16), up, product, Tensor(), Tensor()};
    return weft::ops::cuda::gated_vector(pass.work<c10::BFloat16>(GateActivation::silu));
  };
  const auto aligned = whole.narrow(0, 0, 64), shifted = whole.narrow(0, 1, 64);
  EXPECT_EQ(width(aligned, aligned), 8);
  EXPECT_EQ(width(shifted, aligned), 1);
  EXPECT_EQ(width(aligned, shifted), 1);
}

}  // namespace gated_linear_kernel_test
