// The arithmetic of the CUDA kernel, run on the CPU: the same functions that kernels.cu compiles
// for the device, token by token and piece by piece.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include "ops/rope/geometry.hpp"
#include "ops/rope/kernels.hpp"
#include "support/tensors.hpp"

namespace rope_kernel_test {

using at::Tensor;
using weft::ops::cuda::make_rope_cut;
using weft::ops::cuda::RopeWork;
using weft::test::close;

static Tensor reference(const Tensor& x, const Tensor& cos, const Tensor& sin, bool interleaved,
                        bool inverse) {
  return c10::Dispatcher::singleton()
      .findSchemaOrThrow("weft::_rope", "")
      .typed<Tensor(const Tensor&, const Tensor&, const Tensor&, bool, bool)>()
      .redispatch(c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), x, cos, sin, interleaved,
                  inverse);
}

template <class T, class Real>
static RopeWork<T, Real> work_of(const Tensor& x, const Tensor& cos, const Tensor& sin,
                                 const Tensor& out, bool interleaved) {
  RopeWork<T, Real> work;
  work.x = x.const_data_ptr<T>();
  work.out = out.mutable_data_ptr<T>();
  work.cos = cos.const_data_ptr<Real>();
  work.sin = sin.const_data_ptr<Real>();
  work.batch = x.size(0);
  weft::ops::set_rope_geometry(work, x, cos, out);
  work.interleaved = interleaved;
  return work;
}

template <class T, class Real>
static void expect_reference(at::ScalarType dtype, at::ScalarType real, double tolerance) {
  torch::manual_seed(0);
  for (const auto& [heads, width, pairs] :
       std::vector<std::tuple<int64_t, int64_t, int64_t>>{{3, 64, 32},
                                                          {2, 128, 64},
                                                          {2, 96, 16},
                                                          {5, 80, 40},
                                                          {3, 7, 2},
                                                          {2, 20, 5},
                                                          {1, 66, 33},
                                                          {2, 2, 1},
                                                          {2, 16, 0}}) {
    const auto angles = 9 * at::rand({2, 5, pairs}, at::kDouble);
    const auto cos = angles.cos().to(real), sin = angles.sin().to(real);
    const auto whole = at::randn({2, 5, heads, width + 8}, at::kDouble).to(dtype);
    for (const int64_t skip : {0, 1, 8}) {  // aligned, not aligned, aligned and strided
      const auto x = whole.narrow(3, skip, width).transpose(1, 2);
      for (const bool interleaved : {false, true}) {
        for (const bool inverse : {false, true}) {
          SCOPED_TRACE(testing::Message() << width << ' ' << pairs << ' ' << skip << interleaved);
          const auto out = at::full_like(x, 77);
          auto work = work_of<T, Real>(x, cos, sin, out, interleaved);
          work.inverse = inverse;
          const auto cut = make_rope_cut(work);
          with_rope_cut(work, cut, [&](auto vector, auto layout) {
            const auto items = static_cast<uint32_t>(heads) * cut.per_head.divisor();
            for (int64_t b = 0; b < 2; ++b)
              for (int64_t t = 0; t < 5; ++t)
                for (uint32_t item = 0; item < items; ++item)
                  weft::ops::cuda::rotate_piece<decltype(vector)::value, decltype(layout)::value>(
                      work, cut, b, t, item);
          });
          EXPECT_TRUE(close(out, reference(x, cos, sin, interleaved, inverse), tolerance));
        }
      }
    }
  }
}

TEST(RopeKernel, EqualsTheReferenceForEveryDtypeLayoutAndWidth) {
  expect_reference<double, double>(at::kDouble, at::kDouble, 1e-15);
  expect_reference<float, float>(at::kFloat, at::kFloat, 1e-6);
  expect_reference<c10::BFloat16, float>(at::kBFloat16, at::kFloat, 4e-3);
  expect_reference<c10::Half, float>(at::kHalf, at::kFloat, 5e-4);
}

// The accesses that the speed rests on.
TEST(RopeKernel, PiecesAreAsWideAsSizesAndAlignmentAllow) {
  const auto table = at::zeros({1, 5, 32});
  const auto cut = [&](const Tensor& x, int64_t pairs, bool interleaved) {
    const auto part = table.narrow(2, 0, pairs).contiguous();
    const auto made =
        make_rope_cut(work_of<c10::BFloat16, float>(x, part, part, at::empty_like(x), interleaved));
    return std::tuple(made.vector, made.rotated, made.per_head.divisor());
  };
  using Cut = std::tuple<uint32_t, uint32_t, uint32_t>;
  const auto x = at::zeros({2, 3, 5, 64}, at::kBFloat16);
  EXPECT_EQ(cut(x, 32, false), (Cut{8, 4, 4}));
  EXPECT_EQ(cut(x, 32, true), (Cut{8, 8, 8}));
  EXPECT_EQ(cut(x, 8, false), (Cut{8, 1, 7}));
  EXPECT_EQ(cut(x, 4, true), (Cut{8, 1, 8}));
  EXPECT_EQ(cut(x, 4, false), (Cut{1, 4, 60}));
  EXPECT_EQ(cut(x.narrow(3, 0, 60), 28, false), (Cut{1, 28, 32}));
  EXPECT_EQ(cut(x.narrow(3, 0, 61), 28, true), (Cut{1, 28, 33}));
}

}  // namespace rope_kernel_test
