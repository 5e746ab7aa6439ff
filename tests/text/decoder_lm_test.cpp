#include <torch/torch.h>

#include <weft/nn/autocast.hpp>
#include <weft/text/decoder_lm.hpp>

#include "support/gmock.hpp"
#include "support/gradcheck.hpp"
#include "support/tensors.hpp"

namespace decoder_lm_test {

using namespace weft::test;
using weft::LmInput;
using weft::text::DecoderLm;
using weft::text::DecoderLmOptions;

DecoderLmOptions small() {
  return {.vocab_size = 31,
          .num_layers = 2,
          .block = {.attention = {.hidden_size = 16, .num_heads = 4, .num_kv_heads = 2},
                    .mlp = {.hidden_size = 16, .intermediate_size = 24, .gated = true},
                    .norm = weft::nn::NormKind::rms_norm},
          .rotary = {.dim = 4}};
}

DecoderLm model_of(const DecoderLmOptions& options) {
  DecoderLm model(options);
  randomize(model);
  model->eval();
  return model;
}

torch::Tensor random_ids(int64_t rows, int64_t columns) {
  return torch::randint(0, 31, {rows, columns}, torch::kLong);
}

TEST(DecoderLm, TokensSeeEarlierOnesOnly) {
  auto model = model_of(small());
  const auto ids = random_ids(2, 9);
  const auto whole = model->forward({.ids = ids}).logits;
  EXPECT_EQ(whole.sizes(), (std::vector<int64_t>{2, 9, 31}));
  EXPECT_TRUE(
      close(model->forward({.ids = ids.slice(1, 0, 5)}).logits, whole.slice(1, 0, 5), 1e-5));
}

TEST(DecoderLm, IdsAndTheirEmbeddingsAreTheSame) {
  auto options = small();
  options.embed_scale = 4;
  options.embed_size = 10;
  auto model = model_of(options);
  const auto ids = random_ids(2, 6);
  const auto output = model->forward({.ids = ids});
  EXPECT_EQ(output.hidden.size(2), 10);
  EXPECT_TRUE(
      torch::equal(model->forward({.embeddings = model->embed(ids)}).logits, output.logits));
  EXPECT_TRUE(close(output.hidden.matmul(model->head().weight.t()), output.logits, 1e-6));
}

TEST(DecoderLm, PaddingOnEitherSideChangesNothing) {
  for (const int64_t window : {0, 3}) {
    auto options = small();
    options.window = window;
    if (window > 0) options.window_layers = {1};
    auto model = model_of(options);
    const auto ids = random_ids(1, 6);
    const auto alone = model->forward({.ids = ids}).logits;
    const auto pad = random_ids(1, 4);
    auto mask = torch::ones({1, 10}, torch::kBool);
    mask.slice(1, 6) = false;
    const auto right =
        model->forward({.ids = torch::cat({ids, pad}, 1), .mask = mask}).logits.slice(1, 0, 6);
    const auto left = model->forward({.ids = torch::cat({pad, ids}, 1), .mask = mask.flip(1)});
    EXPECT_TRUE(close(right, alone, 1e-5));
    EXPECT_TRUE(close(left.logits.slice(1, 4), alone, 1e-5));
    EXPECT_TRUE(left.logits.isfinite().all().item<bool>());
  }
}

/// A model whose first layer sees four tokens, its positions learned or rotary.
DecoderLm windowed(bool learned) {
  auto options = small();
  if (learned) options.rotary.dim = 0;
  options.learned_positions = learned;
  options.max_tokens = 32;
  options.window = 4;
  options.window_layers = {0};
  return model_of(options);
}

TEST(DecoderLm, PackedTextsAreThoseOfRowsAlone) {
  for (const bool learned : {false, true}) {
    auto model = windowed(learned);
    const auto a = random_ids(1, 6), b = random_ids(1, 1), c = random_ids(1, 9);
    const auto segments =
        torch::cat({torch::full({1, 6}, 3, torch::kLong), torch::zeros({1, 1}, torch::kLong),
                    torch::full({1, 9}, 7, torch::kLong)},
                   1);
    const auto packed =
        model->forward({.ids = torch::cat({a, b, c}, 1), .segments = segments}).logits;
    EXPECT_TRUE(close(packed.slice(1, 0, 6), model->forward({.ids = a}).logits, 1e-5));
    EXPECT_TRUE(close(packed.slice(1, 6, 7), model->forward({.ids = b}).logits, 1e-5));
    EXPECT_TRUE(close(packed.slice(1, 7), model->forward({.ids = c}).logits, 1e-5));
  }
}

// Two segments, the first of a trunk with three branches.
TEST(DecoderLm, BranchesAreTextsOfTheirOwnBehindTheirTrunk) {
  for (const bool learned : {false, true}) {
    auto model = windowed(learned);
    const auto trunk = random_ids(1, 5), a = random_ids(1, 3), b = random_ids(1, 1),
               c = random_ids(1, 6), other = random_ids(1, 4), d = random_ids(1, 3);
    const auto numbers = [](const std::vector<std::pair<int64_t, int64_t>>& runs) {
      std::vector<torch::Tensor> out;
      for (const auto& [value, count] : runs)
        out.push_back(torch::full({1, count}, value, torch::kLong));
      return torch::cat(out, 1);
    };
    const auto all =
        model
            ->forward({.ids = torch::cat({trunk, a, b, c, other, d}, 1),
                       .segments = numbers({{0, 15}, {1, 7}}),
                       .branches = numbers({{0, 5}, {1, 3}, {2, 1}, {3, 6}, {0, 4}, {1, 3}})})
            .logits;
    const auto expect = [&](const torch::Tensor& front, const torch::Tensor& branch, int64_t at) {
      const auto alone = model->forward({.ids = torch::cat({front, branch}, 1)}).logits;
      EXPECT_TRUE(
          close(all.slice(1, at, at + branch.size(1)), alone.slice(1, front.size(1)), 1e-5));
    };
    EXPECT_TRUE(close(all.slice(1, 0, 5), model->forward({.ids = trunk}).logits, 1e-5));
    expect(trunk, a, 5);
    expect(trunk, b, 8);
    expect(trunk, c, 9);
    expect(other, d, 19);
  }
}

// The mask written out: causal, or of one span; both in one segment.
TEST(DecoderLm, SpansSeeEachOtherInBothDirections) {
  auto options = small();
  options.num_layers = 1;
  auto model = model_of(options);
  const auto ids = random_ids(1, 8);
  const auto spans = torch::tensor({{1, 1, 1, 0, 2, 2, 0, 0}}, torch::kLong);
  const auto output = model->forward({.ids = ids, .spans = spans}).logits;
  auto& block = model->blocks->blocks[0];
  auto allowed = torch::zeros({1, 1, 8, 8}, torch::kBool);
  for (int64_t i = 0; i < 8; ++i)
    for (int64_t j = 0; j < 8; ++j) {
      const auto a = spans[0][i].item<int64_t>(), b = spans[0][j].item<int64_t>();
      allowed[0][0][i][j] = j <= i || (a > 0 && a == b);
    }
  const weft::nn::Rotary rotary({.dim = 4});
  const auto x = block->forward(model->embed(ids), allowed, rotary(torch::arange(8).unsqueeze(0)));
  EXPECT_TRUE(close(output, model->lm_head(model->norm(x)), 1e-6));
  EXPECT_FALSE(close(output, model->forward({.ids = ids}).logits, 1e-3));
}

TEST(DecoderLm, ACacheGivesTheSameLogitsInAnyChunks) {
  const torch::NoGradGuard no_grad;
  auto options = small();
  options.window = 3;
  options.window_layers = {1};
  auto model = model_of(options);
  const auto ids = random_ids(2, 11);
  auto mask = torch::ones({2, 11}, torch::kBool);
  mask[1].slice(0, 0, 2) = false;
  const auto whole = model->forward({.ids = ids, .mask = mask}).logits;
  for (const std::vector<int64_t>& chunks : {std::vector<int64_t>{11}, {6, 1, 1, 3}, {1, 1, 9}}) {
    weft::nn::KeyValueCache cache;
    std::vector<torch::Tensor> parts;
    int64_t begin = 0;
    for (const auto count : chunks) {
      parts.push_back(model
                          ->forward({.ids = ids.narrow(1, begin, count),
                                     .mask = mask.slice(1, 0, begin + count),
                                     .cache = &cache})
                          .logits);
      begin += count;
    }
    EXPECT_EQ(cache.length(), 11);
    EXPECT_TRUE(close(torch::cat(parts, 1)[0], whole[0], 1e-5));
    EXPECT_TRUE(close(torch::cat(parts, 1)[1].slice(0, 2), whole[1].slice(0, 2), 1e-5));
  }
}

TEST(DecoderLm, LogitsOfTheLastTokenAndHiddenLayers) {
  auto model = model_of(small());
  const auto ids = random_ids(2, 5);
  const auto all = model->forward({.ids = ids, .hidden_layers = {0, -1}});
  const auto last = model->forward({.ids = ids, .logits = weft::Logits::last});
  EXPECT_TRUE(close(last.logits, all.logits.slice(1, 4), 1e-6));
  EXPECT_FALSE(model->forward({.ids = ids, .logits = weft::Logits::none}).logits.defined());
  ASSERT_EQ(all.layers.size(), 2u);
  EXPECT_TRUE(torch::equal(all.layers[0], model->embed(ids)));
  EXPECT_TRUE(close(model->norm(all.layers[1]), all.hidden, 1e-6));
}

TEST(DecoderLm, CheckpointedActivationsGiveTheSameGradients) {
  auto model = model_of(small());
  const auto ids = random_ids(2, 7);
  const auto gradients = [&](bool on) {
    model->train();
    weft::nn::checkpoint_activations(*model, on);
    model->zero_grad();
    model->forward({.ids = ids}).logits.square().mean().backward();
    std::vector<torch::Tensor> out;
    for (const auto& p : model->parameters()) out.push_back(p.grad().clone());
    return out;
  };
  const auto plain = gradients(false), again = gradients(true);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_TRUE(torch::equal(plain[i], again[i]));
}

struct Adder : weft::LayerHook {
  torch::Tensor before(int64_t layer, const torch::Tensor& hidden, const LmInput& input,
                       std::vector<torch::Tensor>* slot) override {
    if (slot != nullptr) {
      if (slot->empty()) slot->push_back(input.ids);
      seen = slot->front();
    }
    return layer == 1 ? hidden + bias : hidden;
  }
  torch::Tensor bias = register_parameter("bias", torch::full({16}, 0.5));
  torch::Tensor seen;
};

TEST(DecoderLm, HooksRunBeforeTheirLayerAndKeepTensorsInTheCache) {
  auto model = model_of(small());
  const auto ids = random_ids(2, 5);
  const auto plain = model->forward({.ids = ids, .hidden_layers = {1}});
  auto hook = std::make_shared<Adder>();
  model->add_hook(hook);
  EXPECT_TRUE(model->named_parameters().contains("hooks_0.bias"));
  const auto hooked = model->forward({.ids = ids, .hidden_layers = {1}});
  EXPECT_TRUE(torch::equal(hooked.layers[0], plain.layers[0]));
  EXPECT_FALSE(close(hooked.logits, plain.logits, 1e-3));
  const torch::NoGradGuard no_grad;
  weft::nn::KeyValueCache cache;
  model->forward({.ids = ids, .cache = &cache});
  model->forward({.ids = ids.slice(1, 0, 1), .cache = &cache});
  EXPECT_TRUE(torch::equal(hook->seen, ids));
  cache.reorder(torch::tensor({1, 0}));
  EXPECT_TRUE(torch::equal(cache.hooks[0][0], ids.flip(0)));
}

TEST(DecoderLm, SoftCapsBoundScoresAndLogits) {
  auto options = small();
  options.logit_soft_cap = 0.5;
  options.block.attention.soft_cap = 2;
  options.block.attention.scale = 3;
  auto model = model_of(options);
  EXPECT_LT(model->forward({.ids = random_ids(1, 6)}).logits.abs().max().item<float>(), 0.5F);
}

TEST(DecoderLm, Bf16AutocastIsNearFp32) {
  auto model = model_of(small());
  const auto ids = random_ids(2, 8);
  const auto exact = model->forward({.ids = ids}).logits;
  const weft::nn::AutocastGuard autocast(at::kCPU, at::kBFloat16);
  EXPECT_TRUE(close(model->forward({.ids = ids}).logits, exact, 0.05));
}

TEST(DecoderLmErrors, NameTheMember) {
  auto model = model_of(small());
  const auto ids = random_ids(2, 5);
  EXPECT_THAT([&] { model->forward({}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("a token at least")));
  EXPECT_THAT([&] { model->forward({.ids = ids, .embeddings = model->embed(ids)}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("not both")));
  EXPECT_THAT(
      [&] {
        model->forward({.ids = ids, .mask = torch::ones({2, 4}, torch::kBool)});
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("mask must be [2, 5] bool, got [2, 4]")));
  EXPECT_THAT(
      [&] {
        model->forward({.ids = ids, .segments = torch::zeros({1, 5}, torch::kLong)});
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("segments must be [2, 5] int64")));
  auto learned = small();
  learned.rotary.dim = 0;
  learned.learned_positions = true;
  learned.max_tokens = 4;
  auto short_model = model_of(learned);
  EXPECT_THAT([&] { short_model->forward({.ids = ids}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("5 tokens are more than the 4 positions")));
  auto windows = small();
  windows.window_layers = {0};
  EXPECT_THAT([&] { model_of(windows); },
              ThrowsMessage<c10::ValueError>(HasSubstr("window_layers need a window")));
}

}  // namespace decoder_lm_test
