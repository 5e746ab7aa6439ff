#include <torch/torch.h>

#include <weft/nn/attention.hpp>
#include <weft/nn/attention_record.hpp>
#include <weft/nn/autocast.hpp>
#include <weft/nn/inference.hpp>

#include "support/gmock.hpp"
#include "support/gradcheck.hpp"

namespace attention_record_test {

using namespace weft::test;
using weft::nn::AttentionRecord;

TEST(AttentionRecord, KeepsTheWeightsThatMakeTheOutput) {
  for (const weft::nn::AttentionOptions& options :
       {weft::nn::AttentionOptions{.hidden_size = 12, .num_heads = 3},
        {.hidden_size = 12, .num_heads = 4, .num_kv_heads = 2, .head_dim = 5},
        {.hidden_size = 12, .num_heads = 3, .qk_norm = true},
        {.hidden_size = 12, .num_heads = 3, .causal = true}}) {
    weft::nn::Attention m(options);
    randomize(m);
    m->to(torch::kDouble);
    const auto x = torch::randn({2, 7, 12}, torch::kDouble);
    auto mask = torch::ones({2, 7}, torch::kBool);
    mask[1].slice(0, 4) = false;
    for (const auto& allowed : {torch::Tensor(), mask}) {
      const AttentionRecord record;
      const auto y = m(x, allowed);
      ASSERT_EQ(record.weights().size(), 1u);
      const auto weights = record.weights()[0];  // [2, H, 7, 7]
      EXPECT_FALSE(weights.requires_grad());
      EXPECT_LT((weights.sum(-1) - 1).abs().max().item<double>(), 1e-12);
      const auto group = m->options.num_heads / m->options.num_kv_heads;
      const auto values = m->v(x)
                              .view({2, 7, m->options.num_kv_heads, m->options.head_dim})
                              .transpose(1, 2)
                              .repeat_interleave(group, 1);  // [2, H, 7, d]
      const auto attended = weights.matmul(values).transpose(1, 2).reshape({2, 7, -1});
      EXPECT_LT(relative_error(m->out(attended), y), 1e-12);
      if (options.causal) {
        EXPECT_EQ(weights[0][0][2][3].item<double>(), 0);
      }
      if (allowed.defined()) {
        EXPECT_EQ(weights[1][0][5][4].item<double>(), 0);
      }
    }
  }
}

TEST(AttentionRecord, KeepsLessWhereLessIsAskedFor) {
  for (const bool causal : {false, true}) {
    weft::nn::Attention m(
        weft::nn::AttentionOptions{.hidden_size = 12, .num_heads = 3, .causal = causal});
    randomize(m);
    const auto x = torch::randn({2, 7, 12});
    auto padded = torch::ones({2, 7}, torch::kBool);
    padded[1].slice(0, 4) = false;
    const auto pairs = torch::ones({2, 1, 7, 7}, torch::kBool).tril(2);
    for (const auto& allowed : {torch::Tensor(), padded, pairs}) {
      torch::Tensor all;
      {
        const AttentionRecord record;
        m(x, allowed);
        all = record.weights()[0];
      }
      const AttentionRecord record(
          weft::nn::AttentionRecordOptions{.last_queries = 3, .mean_heads = true});
      m(x, allowed);
      const auto expected = all.narrow(2, 4, 3).mean(1, /*keepdim=*/true);  // [2, 1, 3, 7]
      ASSERT_EQ(record.weights()[0].sizes(), expected.sizes());
      EXPECT_LT((record.weights()[0] - expected).abs().max().item<double>(), 1e-6);
    }
  }
}

TEST(AttentionRecord, TheNewestOneTakesThemAndTheFastPathWaits) {
  weft::nn::Attention m(weft::nn::AttentionOptions{.hidden_size = 8, .num_heads = 2});
  const torch::NoGradGuard no_grad;
  const auto x = torch::randn({1, 3, 8});
  EXPECT_EQ(AttentionRecord::current(), nullptr);
  const weft::nn::AutocastGuard autocast(torch::kCPU);
  const bool fast = weft::nn::inference_applies(x, false);
  AttentionRecord outer;
  EXPECT_FALSE(weft::nn::inference_applies(x, false));
  {
    const AttentionRecord inner;
    m(x);
    EXPECT_EQ(inner.weights().size(), 1u);
    EXPECT_EQ(inner.weights()[0].scalar_type(), torch::kFloat32);  // also under autocast
  }
  EXPECT_TRUE(outer.weights().empty());
  EXPECT_EQ(AttentionRecord::current(), &outer);
  m(x);
  m(x);
  EXPECT_EQ(outer.weights().size(), 2u);
  EXPECT_TRUE(fast);
}

}  // namespace attention_record_test
