#include <gmock/gmock.h>

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/autograd.h>

#include <weft/nn/autocast.hpp>
#include <weft/ops/splice.hpp>

#include "ops/splice/kernels.hpp"
#include "support/devices.hpp"
#include "support/gradcheck.hpp"

namespace splice_test {

using at::Tensor;
using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::ops::splice;

// Row by row: the next visual token where there is a placeholder.
static Tensor definition(const Tensor& embeddings, const Tensor& visual, const Tensor& mask) {
  auto rows = embeddings.reshape({-1, embeddings.size(-1)}).unbind();
  const auto tokens = visual.reshape({-1, embeddings.size(-1)}).unbind();
  const auto flat = mask.reshape({-1}).cpu();
  size_t next = 0;
  for (size_t i = 0; i < rows.size(); ++i)
    if (flat[static_cast<int64_t>(i)].item<bool>()) rows[i] = tokens.at(next++);
  EXPECT_EQ(next, tokens.size());
  return at::stack(rows).view(embeddings.sizes());
}

struct Inputs {
  Tensor embeddings, visual, mask;
};

static Inputs inputs_of(int64_t batch, int64_t tokens, int64_t width, double share,
                        at::Device device, at::ScalarType dtype = at::kFloat) {
  const auto mask = at::rand({batch, tokens}).lt(share);
  return {at::randn({batch, tokens, width}).to(device, dtype),
          at::randn({mask.sum().item<int64_t>(), width}).to(device, dtype), mask.to(device)};
}

class Splice : public testing::TestWithParam<at::Device> {};
INSTANTIATE_TEST_SUITE_P(, Splice, testing::ValuesIn(weft::test::devices()),
                         weft::test::device_name);

TEST_P(Splice, IsTheDefinitionWithGradients) {
  torch::manual_seed(0);
  for (const auto dtype : {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf}) {
    for (const int64_t width : {1, 2, 3, 8, 65, 256}) {
      for (const double share : {0.0, 0.1, 0.6, 1.0}) {
        SCOPED_TRACE(testing::Message() << dtype << ' ' << width << ' ' << share);
        const auto in = inputs_of(3, 37, width, share, GetParam(), dtype);
        const auto a = in.embeddings.clone().requires_grad_(true);
        const auto b = in.visual.clone().requires_grad_(true);
        const auto ours = splice(a, b, in.mask), theirs = definition(a, b, in.mask);
        EXPECT_TRUE(at::equal(ours, theirs));
        const auto above = at::randn_like(ours);
        const auto got = torch::autograd::grad({ours}, {a, b}, {above});
        const auto wanted =
            torch::autograd::grad({theirs}, {a, b}, {above}, std::nullopt, false, true);
        for (size_t i = 0; i < 2; ++i) {
          const auto& expected = wanted[i].defined() ? wanted[i] : at::zeros_like(got[i]);
          EXPECT_TRUE(at::equal(got[i], expected));
        }
      }
    }
  }
}

// More rows than bands of the kernel, and than one thread's share on the CPU.
TEST_P(Splice, ManyRows) {
  torch::manual_seed(1);
  const auto in = inputs_of(7, 3001, 40, 0.3, GetParam());
  const auto a = in.embeddings.clone().requires_grad_(true);
  const auto b = in.visual.clone().requires_grad_(true);
  const auto ours = splice(a, b, in.mask);
  const auto theirs = in.embeddings.masked_scatter(in.mask.unsqueeze(-1), in.visual);
  EXPECT_TRUE(at::equal(ours, theirs));
  const auto above = at::randn_like(ours);
  const auto got = torch::autograd::grad({ours}, {a, b}, {above});
  EXPECT_TRUE(at::equal(got[0], above.masked_fill(in.mask.unsqueeze(-1), 0)));
  EXPECT_TRUE(at::equal(got[1], above.index({in.mask})));
}

TEST_P(Splice, TakesStridedInputsImagesAndOneSample) {
  torch::manual_seed(2);
  const auto in = inputs_of(1, 30, 16, 0, GetParam());
  const auto mask = (at::arange(30).remainder(5) < 2).to(GetParam());
  const auto embeddings = in.embeddings[0].t().contiguous().t();
  const auto visual = at::randn({3, 32, 4}).to(GetParam()).transpose(1, 2).slice(2, 0, 32, 2);
  EXPECT_FALSE(embeddings.is_contiguous() || visual.is_contiguous());
  EXPECT_TRUE(at::equal(splice(embeddings, visual, mask), definition(embeddings, visual, mask)));
  const auto every_other = at::stack({mask, mask}, 1).select(1, 0);
  EXPECT_TRUE(
      at::equal(splice(embeddings, visual, every_other), definition(embeddings, visual, mask)));
  // A view into a mask, whose bytes are not aligned.
  EXPECT_TRUE(at::equal(
      splice(embeddings.slice(0, 3), visual.reshape({12, 16}).slice(0, 2), mask.slice(0, 3)),
      definition(embeddings.slice(0, 3), visual.reshape({12, 16}).slice(0, 2), mask.slice(0, 3))));
}

TEST(SpliceOp, OnlyTheGradientsThatAreWanted) {
  torch::manual_seed(3);
  const auto in = inputs_of(2, 9, 4, 0.4, at::kCPU, at::kDouble);
  const auto one = [&](const Tensor& embeddings, const Tensor& visual, const Tensor& wanted) {
    return torch::autograd::grad({splice(embeddings, visual, in.mask).square().sum()}, {wanted})[0];
  };
  const auto a = in.embeddings.clone().requires_grad_(true);
  const auto b = in.visual.clone().requires_grad_(true);
  EXPECT_TRUE(at::equal(one(a, in.visual, a), 2 * a.masked_fill(in.mask.unsqueeze(-1), 0)));
  EXPECT_TRUE(at::equal(one(in.embeddings, b, b), 2 * b));
  EXPECT_TRUE(weft::test::gradcheck(
      [&](const std::vector<Tensor>& v) { return splice(v[0], v[1], in.mask); }, {a, b}));
}

TEST_P(Splice, AutocastTakesTheEmbeddingsDtype) {
  torch::manual_seed(4);
  const auto in = inputs_of(2, 9, 4, 0.4, GetParam());
  const weft::nn::AutocastGuard autocast(GetParam().type(), at::kBFloat16);
  const auto low = in.visual.to(at::kBFloat16).requires_grad_(true);
  const auto out = splice(in.embeddings, low, in.mask);
  EXPECT_EQ(out.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(out, definition(in.embeddings, low.to(at::kFloat), in.mask)));
  EXPECT_EQ(torch::autograd::grad({out.sum()}, {low})[0].scalar_type(), at::kBFloat16);
}

TEST(SpliceOp, MetaGivesShapesAndGradients) {
  const auto options = at::TensorOptions().device(at::kMeta);
  const auto a = at::empty({2, 6, 4}, options).requires_grad_(true);
  const auto b = at::empty({5, 4}, options).requires_grad_(true);
  const auto out = splice(a, b, at::empty({2, 6}, options.dtype(at::kBool)));
  EXPECT_TRUE(out.is_meta());
  EXPECT_EQ(out.sizes(), a.sizes());
  const auto grads = torch::autograd::grad({out.sum()}, {a, b});
  EXPECT_EQ(grads[0].sizes(), a.sizes());
  EXPECT_EQ(grads[1].sizes(), b.sizes());
}

// A backend without kernels of its own runs the composite reference.
TEST(SpliceOp, TheFallbackOfOtherBackendsIsTheDefinition) {
  torch::manual_seed(5);
  auto& dispatcher = c10::Dispatcher::singleton();
  const c10::DispatchKeySet other(c10::DispatchKey::PrivateUse1);
  const auto in = inputs_of(1, 20, 6, 0.4, at::kCPU);
  const auto embeddings = in.embeddings[0], mask = in.mask[0];
  EXPECT_TRUE(at::equal(dispatcher.findSchemaOrThrow("weft::_splice", "")
                            .typed<Tensor(const Tensor&, const Tensor&, const Tensor&)>()
                            .redispatch(other, embeddings, in.visual, mask),
                        definition(embeddings, in.visual, mask)));
  using Backward =
      std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, c10::SymInt, std::array<bool, 2>);
  const auto [a, b] = dispatcher.findSchemaOrThrow("weft::_splice_backward", "")
                          .typed<Backward>()
                          .redispatch(other, embeddings, mask, in.visual.size(0), {true, true});
  EXPECT_TRUE(at::equal(a, embeddings * mask.logical_not().unsqueeze(1)));
  EXPECT_TRUE(at::equal(b, embeddings.index({mask})));
}

TEST(SpliceOp, RefusesSecondDerivatives) {
  const auto in = inputs_of(1, 9, 4, 0.4, at::kCPU);
  const auto a = in.embeddings.clone().requires_grad_(true);
  const auto first = torch::autograd::grad({splice(a, in.visual, in.mask).square().sum()}, {a}, {},
                                           std::nullopt, /*create_graph=*/true);
  EXPECT_THAT([&] { first[0].sum().backward(); },
              ThrowsMessage<c10::Error>(HasSubstr("_splice_backward is not implemented")));
}

TEST(SpliceErrors, NameRuleAndValues) {
  const auto x = at::ones({2, 4, 3}), visual = at::ones({2, 3});
  const auto mask = at::arange(8).view({2, 4}).remainder(4).eq(1);
  const auto refuse = [](const Tensor& a, const Tensor& b, const Tensor& c) {
    return [=] { splice(a, b, c); };
  };
  const auto says = [](const char* text) {
    return ThrowsMessage<c10::ValueError>(HasSubstr(text));
  };
  EXPECT_THAT(refuse(x, at::ones({3, 3}), mask),
              says("splice: 2 placeholders for 3 visual tokens"));
  EXPECT_THAT(refuse(x, at::ones({0, 3}), mask),
              says("splice: 2 placeholders for 0 visual tokens"));
  EXPECT_THAT(refuse(x, at::ones({2, 4}), mask), says("got [2, 4, 3] and [2, 4]"));
  EXPECT_THAT(refuse(x, visual, mask[0]), says("got [4] for [2, 4, 3]"));
  EXPECT_THAT(refuse(x, visual, mask.to(at::kLong)), says("placeholders must be bool, got Long"));
  EXPECT_THAT(refuse(x, visual.to(at::kHalf), mask), says("one dtype, got Float and Half"));
}

// What kernels.cu hands to its blocks and threads, run on the CPU.
static void on_cpu(const weft::ops::kernels::SpliceWork& work, int64_t band, uint32_t threads) {
  const auto blocks = (work.rows + band - 1) / band;
  for (int64_t block = 0; block < blocks; ++block) {
    const auto begin = block * band, end = std::min(begin + band, work.rows);
    int64_t before = 0;
    for (uint32_t t = 0; t < threads; ++t)
      before += weft::ops::cuda::count_share(work.placeholder, begin, t, threads);
    for (auto row = begin; row < end; before += work.placeholder[row++]) {
      const auto move = weft::ops::kernels::plan_row(work, row, before);
      for (uint32_t t = 0; t < threads; ++t) {
        switch (weft::ops::cuda::piece_bytes(work)) {
          case 16:
            weft::ops::cuda::move_share<16>(move, work.row_bytes, t, threads);
            break;
          case 4:
            weft::ops::cuda::move_share<4>(move, work.row_bytes, t, threads);
            break;
          default:
            weft::ops::cuda::move_share<1>(move, work.row_bytes, t, threads);
        }
      }
    }
  }
}

TEST(SpliceKernel, EqualsTheDefinitionForEveryWidthAndBand) {
  torch::manual_seed(6);
  const auto bytes = [](const Tensor& t) { return static_cast<uint8_t*>(t.data_ptr()); };
  for (const int64_t width : {1, 2, 6, 8, 40}) {
    const auto in = inputs_of(1, 131, width, 0.4, at::kCPU, at::kBFloat16);
    const auto embeddings = in.embeddings[0], mask = in.mask[0];
    const auto expected = definition(embeddings, in.visual, mask);
    for (const int64_t band : {1, 7, 50, 131}) {
      for (const uint32_t threads : {1, 3, 32}) {
        weft::ops::kernels::SpliceWork work;
        work.placeholder = bytes(mask);
        work.rows = 131;
        work.visual_rows = in.visual.size(0);
        work.row_bytes = 2 * width;
        auto backward = work;
        const auto out = at::empty_like(embeddings), grad = at::randn_like(out);
        work.embeddings = bytes(embeddings);
        work.visual = bytes(in.visual);
        work.out = bytes(out);
        on_cpu(work, band, threads);
        EXPECT_TRUE(at::equal(out, expected));

        const auto a = at::empty_like(embeddings), b = at::empty_like(in.visual);
        backward.grad = bytes(grad);
        backward.embeddings_grad = bytes(a);
        backward.visual_grad = bytes(b);
        on_cpu(backward, band, threads);
        EXPECT_TRUE(at::equal(a, grad.masked_fill(mask.unsqueeze(1), 0)));
        EXPECT_TRUE(at::equal(b, grad.index({mask})));
      }
    }
  }
}

TEST(SpliceKernel, PiecesAreAsWideAsRowsAndAddressesAllow) {
  alignas(16) static uint8_t bytes[64];
  weft::ops::kernels::SpliceWork work;
  work.embeddings = work.visual = bytes;
  work.out = bytes;
  for (const auto& [row, offset, expected] : std::vector<std::tuple<int64_t, int64_t, uint32_t>>{
           {8192, 0, 16}, {8192, 16, 16}, {8192, 4, 4}, {12, 0, 4}, {8192, 2, 1}, {6, 0, 1}}) {
    work.row_bytes = row;
    work.visual = bytes + offset;
    EXPECT_EQ(weft::ops::cuda::piece_bytes(work), expected) << row << ' ' << offset;
  }
}

}  // namespace splice_test
