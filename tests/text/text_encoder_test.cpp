#include <gmock/gmock.h>

#include <torch/torch.h>

#include <weft/nn/autocast.hpp>
#include <weft/nn/inference.hpp>
#include <weft/text/presets.hpp>
#include <weft/text/text_encoder.hpp>
#include <weft/text/token_batch.hpp>

#include "support/gradcheck.hpp"

namespace text_encoder_test {

using testing::HasSubstr;
using testing::ThrowsMessage;
using weft::test::relative_error;
using weft::text::TextEncoder;
using weft::text::TextEncoderOptions;
using weft::text::TokenBatch;

TextEncoderOptions small() {
  return {.vocab_size = 30,
          .hidden_size = 12,
          .num_layers = 2,
          .num_heads = 3,
          .max_tokens = 9,
          .pooler = true,
          .init_std = 0.3};
}

TextEncoder make(const TextEncoderOptions& options) {
  torch::manual_seed(4);
  TextEncoder m(options);
  const torch::NoGradGuard no_grad;
  for (auto& p : m->parameters()) p.add_(torch::randn_like(p) * 0.1);
  m->eval();
  return m;
}

TokenBatch tokens() {
  return TokenBatch::from({.rows = 3,
                           .columns = 4,
                           .ids = {3, 4, 5, 6, 7, 8, 1, 1, 9, 2, 1, 1},
                           .mask = {1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0}});
}

weft::EncoderInput input(const TokenBatch& batch) {
  return {.data = batch.ids, .mask = batch.mask};
}

TEST(TokenBatch, IsTheMatrixOfIds) {
  const auto batch = tokens();
  EXPECT_TRUE(batch.ids[1].equal(torch::tensor({7, 8, 1, 1})));
  EXPECT_TRUE(batch.mask.sum(1).equal(torch::tensor({4, 2, 2})));
  EXPECT_EQ(batch.mask.scalar_type(), torch::kBool);
}

TEST(TextEncoder, EmbeddingIsItsDefinition) {
  auto m = make(small());
  const auto batch = tokens();
  const auto types = torch::randint(0, 2, batch.ids.sizes(), torch::kLong);
  const auto sum = [&](const torch::Tensor& t) {
    return m->embed_norm(m->token_embed->weight.index({batch.ids}) +
                         m->positions->weight.slice(0, 0, 4) + m->type_embed->weight.index({t}));
  };
  EXPECT_TRUE(torch::allclose(m->embed(batch.ids, types), sum(types), 1e-5, 1e-6));
  EXPECT_TRUE(torch::allclose(m->embed(batch.ids), sum(torch::zeros_like(types)), 1e-5, 1e-6));
}

TEST(TextEncoder, PaddingDoesNotReachRealTokens) {
  auto m = make(small());
  const torch::NoGradGuard no_grad;
  const auto batch = tokens();
  const auto out = m->encode(input(batch), {.hidden_layers = {-1}});
  const auto alone = m->encode({.data = batch.ids.slice(0, 1, 2).slice(1, 0, 2)});
  EXPECT_LT(relative_error(out.tokens[1].slice(0, 0, 2), alone.tokens[0]), 1e-5);
  EXPECT_LT(relative_error(out.pooled[1], alone.pooled[0]), 1e-5);
  EXPECT_TRUE(out.pooled.equal(m->pooler(out.tokens.select(1, 0)).tanh()));
  EXPECT_TRUE(out.hidden[0].equal(out.tokens));  // post-norm has no final norm
  EXPECT_TRUE(out.mask.equal(batch.mask));
}

TEST(TextEncoder, CausalPreNormPoolsTheLastRealToken) {
  auto o = small();
  o.causal = true;
  o.post_norm = false;
  o.embed_norm = false;
  o.pooler = false;
  o.type_vocab = 0;
  auto m = make(o);
  const torch::NoGradGuard no_grad;
  const auto batch = tokens();
  const auto out = m->encode(input(batch));
  EXPECT_TRUE(out.pooled[2].equal(out.tokens[2][1]));
  auto longer = batch.ids.clone();
  longer.select(1, 3).fill_(11);  // a later token changes nothing before it
  const auto other = m->encode({.data = longer, .mask = batch.mask});
  EXPECT_LT(relative_error(other.tokens.slice(1, 0, 2), out.tokens.slice(1, 0, 2)), 1e-5);
}

TEST(TextEncoder, FastPathMatchesThePlainOne) {
  const torch::NoGradGuard no_grad;
  for (const auto type : {torch::kFloat, torch::kBFloat16}) {
    auto m = make(small());
    const auto batch = tokens();
    const auto plain = m->encode(input(batch));
    const weft::nn::InferenceTypeGuard guard(type);
    const weft::nn::AutocastGuard autocast(torch::kCPU);
    const auto fast = m->encode(input(batch));
    EXPECT_LT(relative_error(fast.tokens.index({batch.mask}), plain.tokens.index({batch.mask})),
              type == torch::kFloat ? 1e-5 : 4e-2);
  }
}

TEST(TextEncoder, GradientsMatchFiniteDifferences) {
  auto o = small();
  o.num_layers = 1;
  auto m = make(o);
  auto inputs = weft::test::fp64_parameters(*m);
  const auto batch = tokens();
  EXPECT_TRUE(weft::test::gradcheck(
      [&](const auto&) {
        const auto out = m->encode(input(batch));
        return torch::cat({out.tokens.index({batch.mask}), out.pooled});
      },
      inputs));
}

TEST(TextEncoder, Errors) {
  auto m = make(small());
  EXPECT_THAT(
      [&] {
        m->encode({.data = torch::zeros({1, 10}, torch::kLong)});
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("10 tokens are more than the 9 positions")));
  EXPECT_THAT(
      [&] {
        m->encode({.data = torch::zeros({1, 4})});
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("ids must be [B, N] int64")));
  EXPECT_THAT([&] { m->encode({}); }, ThrowsMessage<c10::ValueError>(HasSubstr("input.data")));
}

TEST(TextPresets, AreNamedAndReadBack) {
  for (const auto& name : weft::text::presets().names()) {
    const auto json = weft::to_json(weft::text::presets().at(name)());
    EXPECT_EQ(weft::to_json(weft::from_json<TextEncoderOptions>(json)), json) << name;
  }
}

TEST(TextEncoder, PoolsTheEndOfTextTokenAndLeavesOutWhatFollows) {
  auto o = small();
  o.post_norm = o.embed_norm = o.pooler = false;
  o.causal = true;
  o.pooling = weft::nn::Pooling::eot;
  o.eot_token = 29;
  auto m = make(o);
  const torch::NoGradGuard no_grad;
  const auto ids = torch::tensor({{3, 4, 29, 29, 7}, {3, 5, 6, 8, 29}});
  const auto out = m->encode({.data = ids});
  EXPECT_TRUE(out.mask.equal(torch::tensor({{1, 1, 1, 0, 0}, {1, 1, 1, 1, 1}}).to(torch::kBool)));
  EXPECT_TRUE(out.pooled[0].equal(out.tokens[0][2]));
  EXPECT_TRUE(out.pooled[1].equal(out.tokens[1][4]));
  const auto cut = m->encode({.data = ids.narrow(0, 0, 1).narrow(1, 0, 3)});
  EXPECT_LT(relative_error(out.pooled[0], cut.pooled[0]), 1e-6);
  // Columns behind every text are not computed, and the shapes stay.
  const auto padded =
      m->encode({.data = torch::constant_pad_nd(ids, {0, 3})}, {.hidden_layers = {0, -1}});
  EXPECT_LT(relative_error(padded.pooled, out.pooled), 1e-6);
  EXPECT_TRUE(padded.mask.equal(torch::constant_pad_nd(out.mask, {0, 3})));
  EXPECT_EQ(padded.tokens.sizes(), (std::vector<int64_t>{2, 8, o.hidden_size}));
  EXPECT_EQ(padded.tokens.narrow(1, 5, 3).abs().max().item<double>(), 0);
  for (const auto& hidden : padded.hidden) EXPECT_EQ(hidden.sizes(), padded.tokens.sizes());
  EXPECT_LT(relative_error(padded.tokens.narrow(1, 0, 5), out.tokens), 1e-6);
  EXPECT_THAT(
      [&] {
        m->encode({.data = torch::tensor({{3, 4, 5}})});
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("lacks the end-of-text token 29")));
  const auto none =
      torch::tensor({{true, true, true, false, false}, {false, false, false, false, false}});
  EXPECT_THAT([&] { m->encode({.data = ids, .mask = none}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("must leave every text a real token")));
  o.eot_token = -1;  // the largest id
  const auto largest = make(o)->encode({.data = torch::tensor({{3, 9, 4}, {3, 4, 9}})});
  EXPECT_TRUE(largest.pooled[0].equal(largest.tokens[0][1]));
  EXPECT_TRUE(largest.pooled[1].equal(largest.tokens[1][2]));
  o.causal = false;
  EXPECT_THAT([&] { make(o); }, ThrowsMessage<c10::ValueError>(HasSubstr("only a causal tower")));
}

TEST(TextEncoder, HeadStandsBehindThePooledToken) {
  auto o = small();
  o.post_norm = o.embed_norm = o.pooler = false;
  o.pooling = weft::nn::Pooling::last;
  o.projection_size = 7;
  auto m = make(o);
  const torch::NoGradGuard no_grad;
  const auto batch = tokens();
  const auto out = m->encode(input(batch));
  EXPECT_EQ(m->info().pooled_size, 7);
  EXPECT_LT(relative_error(out.pooled[1], m->head(out.tokens[1][1])), 1e-6);
}

}  // namespace text_encoder_test
