// The arithmetic of the CUDA kernel, run on the CPU: the same functions that kernels.cu compiles
// for the device, block by block and piece by piece.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include "ops/patchify/kernels.hpp"

namespace patchify_kernel_test {

using at::Tensor;
using weft::ops::Divisor;
using weft::ops::cuda::make_patch_cut;
using weft::ops::cuda::PatchCut;

static Tensor reference(const Tensor& pixels, int64_t patch, at::ScalarType dtype, int64_t offset) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("weft::_patchify", "")
                             .typed<Tensor(const Tensor&, int64_t, at::ScalarType, int64_t)>();
  return op.redispatch(c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), pixels, patch, dtype,
                       offset);
}

static PatchCut cut_of(const Tensor& pixels, int64_t patch, at::ScalarType dtype) {
  const weft::ops::cuda::PixelLayout layout{
      pixels.size(0),
      pixels.size(1),
      pixels.size(2),
      pixels.size(3),
      {pixels.stride(0), pixels.stride(1), pixels.stride(2), pixels.stride(3)}};
  const auto cut = make_patch_cut(
      layout, patch, reinterpret_cast<uint64_t>(pixels.const_data_ptr()),
      static_cast<uint32_t>(pixels.element_size()), static_cast<uint32_t>(at::elementSize(dtype)));
  TORCH_CHECK(cut.has_value());
  return *cut;
}

template <class In, class Out>
static void run(const PatchCut& cut, const Tensor& pixels, const Tensor& out, int64_t offset) {
  const auto* in = static_cast<const In*>(pixels.const_data_ptr());
  auto* to = static_cast<Out*>(out.mutable_data_ptr());
  weft::ops::cuda::with_patch_widths<In, Out>(cut, [&](auto vector, auto load) {
    for (int64_t i = 0; i < cut.bands * cut.chunks; ++i) {
      const auto task = weft::ops::cuda::patch_task(cut, i);
      EXPECT_LT(task.begin, task.end);
      for (auto t = task.begin; t < task.end; ++t)
        weft::ops::cuda::cut_piece<decltype(vector)::value, decltype(load)::value>(
            cut, task, t, in, to, static_cast<float>(offset));
    }
  });
}

static Tensor on_cpu(const Tensor& pixels, int64_t patch, at::ScalarType dtype, int64_t offset) {
  const auto cut = cut_of(pixels, patch, dtype);
  const auto out = at::full({pixels.size(0), pixels.size(2) / patch * (pixels.size(3) / patch),
                             pixels.size(1) * patch * patch},
                            77, pixels.options().dtype(dtype));
  if (dtype == pixels.scalar_type()) {
    switch (pixels.element_size()) {
      case 1:
        run<uint8_t, uint8_t>(cut, pixels, out, 0);
        break;
      case 2:
        run<uint16_t, uint16_t>(cut, pixels, out, 0);
        break;
      case 4:
        run<uint32_t, uint32_t>(cut, pixels, out, 0);
        break;
      default:
        run<uint64_t, uint64_t>(cut, pixels, out, 0);
    }
  } else {
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, dtype, "on_cpu",
                                    [&] { run<uint8_t, scalar_t>(cut, pixels, out, offset); });
  }
  return out;
}

static Tensor bytes(at::IntArrayRef shape) { return at::randint(0, 256, shape, at::kByte); }

static const std::vector<at::ScalarType> kFloating = {at::kFloat, at::kDouble, at::kBFloat16,
                                                      at::kHalf};

TEST(PatchifyKernel, EqualsTheReferenceForEveryDtypePatchAndLayout) {
  torch::manual_seed(0);
  for (const int64_t patch : {1, 2, 7, 8, 14, 16, 28, 32}) {
    const auto pixels = bytes({2, 3, 67, 98});
    const auto last = pixels.contiguous(at::MemoryFormat::ChannelsLast);
    const auto inner = pixels.narrow(3, 1, 90).narrow(2, 1, 65);
    for (const auto& image : {pixels, last, inner, pixels.slice(3, 0, 98, 2)}) {
      for (const auto dtype : kFloating) {
        EXPECT_TRUE(
            at::equal(on_cpu(image, patch, dtype, 128), reference(image, patch, dtype, 128)))
            << dtype << ' ' << patch << ' ' << image.strides();
        const auto floating = image.to(dtype);
        EXPECT_TRUE(at::equal(on_cpu(floating, patch, dtype, 0),
                              reference(floating, patch, floating.scalar_type(), 0)));
      }
      EXPECT_TRUE(at::equal(on_cpu(image, patch, at::kByte, 0),
                            reference(image, patch, image.scalar_type(), 0)));
    }
  }
}

RC_GTEST_PROP(PatchifyKernelProperties, AnyShapeAndSliceEqualsTheReference, ()) {
  const auto between = [](int64_t low, int64_t high) {
    return *rc::gen::inRange<int64_t>(low, high + 1);
  };
  const auto patch = between(1, 20), skip = between(0, 5);
  const auto whole =
      bytes({between(1, 3), between(1, 5), patch + between(0, 40), skip + patch + between(0, 60)});
  const auto pixels = between(0, 1) == 1 ? whole.narrow(3, skip, whole.size(3) - skip)
                                         : whole.slice(3, 0, whole.size(3) - skip);
  const auto dtype = kFloating[static_cast<size_t>(between(0, 3))];
  const auto offset = between(-256, 256);  // the reference subtracts in dtype: exact in bf16
  RC_ASSERT(
      at::equal(on_cpu(pixels, patch, dtype, offset), reference(pixels, patch, dtype, offset)));
  const auto floating = pixels.to(dtype);
  RC_ASSERT(at::equal(on_cpu(floating, patch, dtype, 0), reference(floating, patch, dtype, 0)));
}

// The accesses that the speed rests on.
TEST(PatchifyKernel, AccessesAreAsWideAsSizesAndAlignmentAllow) {
  const auto widths = [](const Tensor& pixels, int64_t patch, at::ScalarType dtype) {
    const auto cut = cut_of(pixels, patch, dtype);
    return std::pair(cut.vector, cut.load);
  };
  using Widths = std::pair<uint32_t, uint32_t>;
  const auto pixels = bytes({4, 3, 224, 224});
  EXPECT_EQ(widths(pixels, 16, at::kBFloat16), (Widths{8, 8}));
  EXPECT_EQ(widths(pixels, 14, at::kBFloat16), (Widths{4, 2}));
  EXPECT_EQ(widths(pixels, 14, at::kFloat), (Widths{4, 2}));
  EXPECT_EQ(widths(pixels, 32, at::kByte), (Widths{16, 16}));
  EXPECT_EQ(widths(pixels, 28, at::kHalf), (Widths{8, 4}));
  EXPECT_EQ(widths(pixels, 7, at::kHalf), (Widths{1, 1}));
  EXPECT_EQ(widths(pixels.to(at::kBFloat16), 16, at::kBFloat16), (Widths{8, 8}));
  EXPECT_EQ(widths(pixels.to(at::kDouble), 16, at::kDouble), (Widths{2, 2}));
  EXPECT_EQ(widths(pixels.contiguous(at::MemoryFormat::ChannelsLast), 16, at::kHalf),
            (Widths{8, 1}));
  EXPECT_EQ(widths(pixels.narrow(3, 1, 208), 16, at::kHalf), (Widths{8, 1}));
  EXPECT_EQ(widths(pixels.narrow(3, 4, 208), 16, at::kHalf), (Widths{8, 4}));
  EXPECT_EQ(widths(pixels.narrow(3, 0, 222).contiguous(), 16, at::kHalf), (Widths{8, 2}));
}

TEST(PatchifyKernel, OffsetsBeyond32BitsAndSizesBeyondTheKernel) {
  const int64_t plane = int64_t{70000} * 50000;  // more than 2^31 elements in a channel
  const weft::ops::cuda::PixelLayout large{3, 3, 50000, 70000, {3 * plane, plane, 70000, 1}};
  const auto cut = make_patch_cut(large, 16, 0, 1, 2);
  ASSERT_TRUE(cut.has_value());
  const auto band = 2 * cut->h + 3000;  // of the last image
  const auto task = weft::ops::cuda::patch_task(*cut, band * cut->chunks + cut->chunks - 1);
  EXPECT_EQ(task.band, band);
  EXPECT_EQ(task.source, 2 * 3 * plane + int64_t{3000} * 16 * 70000);
  EXPECT_EQ(task.end, cut->vectors);

  const auto wide = int64_t{1} << 27;
  EXPECT_FALSE(make_patch_cut({1, 3, 16, wide, {48 * wide, 16 * wide, wide, 1}}, 16, 0, 1, 2));
  EXPECT_FALSE(make_patch_cut({0, 3, 16, 16, {768, 256, 16, 1}}, 16, 0, 1, 2));
  EXPECT_FALSE(make_patch_cut({1, 0, 16, 16, {0, 256, 16, 1}}, 16, 0, 1, 2));
}

TEST(Divisor, IsDivision) {
  constexpr uint32_t kTop = uint32_t{1} << 31;
  for (const uint32_t d : {1u, 2u, 3u, 7u, 14u, 196u, 588u, 641u, 65535u, 65536u, 65537u,
                           1000000007u, kTop - 1, kTop}) {
    const Divisor divisor(d);
    EXPECT_EQ(divisor.divisor(), d);
    for (const uint32_t n : {0u, 1u, 2u, d - 1, d < kTop ? d : 0, 2 * (d / 2) - 1, kTop - 2,
                             kTop - 1, (kTop - 1) / d * d, (kTop - 1) / d * d - 1}) {
      if (n >= kTop) continue;
      EXPECT_EQ(divisor.quotient(n), n / d) << n << " / " << d;
    }
  }
}

RC_GTEST_PROP(DivisorProperties, AnyPairIsDivided, ()) {
  const auto d = *rc::gen::inRange<uint32_t>(1, uint32_t{1} << 31);
  const auto n = *rc::gen::inRange<uint32_t>(0, uint32_t{1} << 31);
  RC_ASSERT(Divisor(d).quotient(n) == n / d);
  RC_ASSERT(Divisor(d % 1000 + 1).quotient(n) == n / (d % 1000 + 1));
}

}  // namespace patchify_kernel_test
