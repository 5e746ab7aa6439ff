#include <torch/torch.h>

#include <weft/nn/attention.hpp>

#include "support/gmock.hpp"
#include "support/gradcheck.hpp"

namespace attention_test {

using namespace weft::test;

// softmax(q k^T / sqrt(d)) v, head by head.
torch::Tensor attention(weft::nn::AttentionImpl& m, const torch::Tensor& x,
                        const torch::Tensor& allowed /* [B, N, N] bool */) {
  const auto d = m.options.head_dim, groups = m.options.num_heads / m.options.num_kv_heads;
  auto q = m.q(x), k = m.k(x);
  const auto v = m.v(x);
  if (m.options.qk_norm_whole) {
    q = m.q_norm(q);
    k = m.k_norm(k);
  }
  std::vector<torch::Tensor> heads;
  for (int64_t h = 0; h < m.options.num_heads; ++h) {
    auto qh = q.narrow(2, h * d, d), kh = k.narrow(2, h / groups * d, d);
    if (m.q_norm && !m.options.qk_norm_whole) {
      qh = m.q_norm(qh);
      kh = m.k_norm(kh);
    }
    auto score = qh.matmul(kh.transpose(1, 2)) / std::sqrt(static_cast<double>(d));
    score = score.masked_fill(allowed.logical_not(), -std::numeric_limits<double>::infinity());
    heads.push_back(score.softmax(-1).matmul(v.narrow(2, h / groups * d, d)));
  }
  return m.out(torch::cat(heads, 2));
}

TEST(Attention, IsItsDefinition) {
  struct Case {
    weft::nn::AttentionOptions options;
  };
  const Case cases[] = {
      {{.hidden_size = 12, .num_heads = 3}},
      {{.hidden_size = 12, .num_heads = 3, .q_bias = false, .k_bias = false, .out_bias = false}},
      {{.hidden_size = 12, .num_heads = 4, .num_kv_heads = 2, .head_dim = 5}},
      {{.hidden_size = 12, .num_heads = 3, .qk_norm = true}},
      {{.hidden_size = 12,
        .num_heads = 4,
        .num_kv_heads = 2,
        .qk_norm = true,
        .qk_norm_kind = weft::nn::NormKind::rms_norm,
        .qk_norm_whole = true}},
      {{.hidden_size = 12, .num_heads = 3, .causal = true}},
  };
  for (const auto& [options] : cases) {
    weft::nn::Attention m(options);
    randomize(m);
    m->to(torch::kDouble);
    const auto x = torch::randn({2, 7, 12}, torch::kDouble);
    auto allowed = torch::ones({2, 7, 7}, torch::kBool);
    if (options.causal) allowed = allowed.tril();
    EXPECT_LT(relative_error(m(x), attention(*m, x, allowed)), 1e-12);
    // A key mask hides tokens from every query.
    auto mask = torch::ones({2, 7}, torch::kBool);
    mask[1].slice(0, 4) = false;
    EXPECT_LT(relative_error(m(x, mask), attention(*m, x, allowed & mask.unsqueeze(1))), 1e-12);
    EXPECT_LT(relative_error(m(x, (allowed & mask.unsqueeze(1)).unsqueeze(1)),
                             attention(*m, x, allowed & mask.unsqueeze(1))),
              1e-12);
  }
}

TEST(Attention, OneTokenGivesItsValue) {
  weft::nn::Attention m({.hidden_size = 4, .num_heads = 2});
  const auto x = torch::randn({3, 1, 4});
  EXPECT_TRUE(torch::allclose(m(x), m->out(m->v(x))));
}

TEST(Attention, Errors) {
  EXPECT_THAT([] { weft::nn::Attention({.hidden_size = 10, .num_heads = 4}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("hidden_size (10) must be a multiple of")));
  EXPECT_THAT([] { weft::nn::Attention({.hidden_size = 8, .num_heads = 4, .num_kv_heads = 3}); },
              ThrowsMessage<c10::ValueError>(
                  HasSubstr("num_heads (4) must be a multiple of num_kv_heads")));
  weft::nn::Attention m({.hidden_size = 8, .num_heads = 2});
  EXPECT_THAT(
      [&] {
        m(torch::ones({2, 8}));
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("x must be [B, N, 8], got [2, 8]")));
  EXPECT_THAT(
      [&] {
        m(torch::ones({2, 3, 8}), torch::ones({2, 4}, torch::kBool));
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("got [2, 4]")));
  EXPECT_THAT(
      [&] {
        m(torch::ones({2, 3, 8}), torch::ones({2, 3}));
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("mask must be bool")));
}

TEST(Attention, OfAContextIsThatOfTheWholeSequenceSeenFromItsFirstTokens) {
  torch::manual_seed(7);
  weft::nn::Attention m(
      weft::nn::AttentionOptions{.hidden_size = 12, .num_heads = 3, .init_std = 0.3});
  m->to(torch::kDouble);
  const auto context = torch::randn({2, 6, 12}, torch::kDouble);
  const auto mask = torch::tensor({{1, 1, 1, 1, 1, 1}, {1, 1, 1, 0, 0, 0}}).to(torch::kBool);
  EXPECT_LT(
      relative_error(m(context.narrow(1, 0, 2), mask, context), m(context, mask).narrow(1, 0, 2)),
      1e-12);
  EXPECT_THAT([&] { m->forward(context, {}, context.narrow(0, 0, 1)); },
              ThrowsMessage<c10::ValueError>(HasSubstr("context must be [2, M, 12]")));
  weft::nn::Attention causal(
      weft::nn::AttentionOptions{.hidden_size = 12, .num_heads = 3, .causal = true});
  const auto x = torch::randn({1, 2, 12});
  EXPECT_THAT([&] { causal->forward(x, {}, x); },
              ThrowsMessage<c10::ValueError>(HasSubstr("takes no context")));
}

}  // namespace attention_test
