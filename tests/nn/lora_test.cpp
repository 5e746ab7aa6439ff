#include <cmath>

#include <torch/torch.h>

#include <weft/nn/autocast.hpp>
#include <weft/nn/inference.hpp>
#include <weft/nn/lora.hpp>
#include <weft/nn/transformer_stack.hpp>
#include <weft/text/decoder_lm.hpp>
#include <weft/text/generation.hpp>

#include "support/gmock.hpp"
#include "support/gradcheck.hpp"
#include "support/tensors.hpp"

namespace lora_test {

using namespace weft::test;
using weft::nn::add_lora;
using weft::nn::Linear;
using weft::nn::LinearOptions;
using weft::nn::LoraOptions;
using weft::text::DecoderLm;
using weft::text::DecoderLmOptions;

struct PairImpl : torch::nn::Module {
  PairImpl() {
    first = register_module("first", Linear(LinearOptions{5, 4}));
    second = register_module("second", Linear(LinearOptions{4, 3, false}));
  }
  torch::Tensor forward(const torch::Tensor& x) { return second(first(x).tanh()); }
  Linear first{nullptr}, second{nullptr};
};
TORCH_MODULE(Pair);

DecoderLmOptions small(bool tied = false) {
  return {.vocab_size = 31,
          .num_layers = 3,
          .block = {.attention = {.hidden_size = 16, .num_heads = 4, .num_kv_heads = 2},
                    .mlp = {.hidden_size = 16,
                            .intermediate_size = 24,
                            .activation = weft::nn::Activation::silu,
                            .gated = true,
                            .bias = false},
                    .norm = weft::nn::NormKind::rms_norm},
          .rotary = {.dim = 4},
          .tie_embeddings = tied};
}

// Factors of ordinary size, so that the adapter is far from rounding.
void randomize_adapters(torch::nn::Module& module) {
  const at::NoGradGuard no_grad;
  for (auto& [name, tensor] : weft::nn::lora_parameters(module)) tensor.normal_(0, 0.3);
}

TEST(Lora, IsItsDefinition) {
  for (const bool rslora : {false, true}) {
    Pair m;
    randomize(m);
    m->to(torch::kDouble);
    const auto names = add_lora(
        *m, {.rank = 2, .alpha = 6, .dropout = 0, .targets = {"first"}, .use_rslora = rslora});
    EXPECT_THAT(names, ElementsAre("first"));
    randomize_adapters(*m);
    const auto named = m->named_parameters();
    const auto &A = named["first.lora_A.weight"], &B = named["first.lora_B.weight"];
    EXPECT_EQ(A.sizes(), (std::vector<int64_t>{2, 5}));
    EXPECT_EQ(B.sizes(), (std::vector<int64_t>{4, 2}));
    EXPECT_EQ(A.scalar_type(), torch::kDouble);
    const double scaling = rslora ? 6 / std::sqrt(2.0) : 6 / 2.0;
    const auto x = torch::randn({2, 7, 5}, torch::kDouble);
    const auto expected =
        x.matmul(m->first->weight.t()) + m->first->bias + scaling * x.matmul(A.t()).matmul(B.t());
    EXPECT_LT(relative_error(m->first(x), expected), 1e-14);
    EXPECT_LT(relative_error(m->first->full_weight(), m->first->weight + scaling * B.matmul(A)),
              1e-14);
    EXPECT_TRUE(gradcheck([&](const auto&) { return m(x); }, {A, B, m->first->weight}));
  }
}

TEST(Lora, AFreshOneChangesNothingAndStartsAsPeftHasIt) {
  torch::manual_seed(3);
  Linear m(LinearOptions{400, 50});
  struct HolderImpl : torch::nn::Module {
    explicit HolderImpl(const Linear& layer) { register_module("layer", layer); }
  };
  const auto holder = std::make_shared<HolderImpl>(m);
  const auto x = torch::randn({3, 400});
  const auto before = m(x);
  add_lora(*holder, {.rank = 30});
  EXPECT_TRUE(torch::equal(m(x), before));
  const auto& A = m->lora()->a->weight;
  // kaiming_uniform with a = sqrt(5): uniform in +-1 / sqrt(in).
  EXPECT_LE(A.abs().max().item<double>(), 1 / 20.0);
  EXPECT_GT(A.abs().max().item<double>(), 0.98 / 20.0);
  EXPECT_NEAR(A.std().item<double>(), 1 / 20.0 / std::sqrt(3.0), 1e-3);
  EXPECT_EQ(m->lora()->b->weight.abs().max().item<double>(), 0);
}

TEST(Lora, DropoutActsOnWhatAReadsInTrainingOnly) {
  torch::manual_seed(4);
  Pair m;
  m->to(torch::kDouble);
  add_lora(*m, {.rank = 2, .alpha = 2, .dropout = 0.5, .targets = {"second"}});
  randomize_adapters(*m);
  auto layer = m->second;
  const auto x = torch::ones({1, 4}, torch::kDouble);
  m->eval();
  EXPECT_LT(relative_error(layer(x), x.matmul(layer->full_weight().t())), 1e-14);
  m->train();
  const auto B = layer->lora()->b->weight, A = layer->lora()->a->weight;
  int hits = 0;
  for (int i = 0; i < 20; ++i) {
    const auto added = layer(x) - x.matmul(layer->weight.t());
    // One of the 16 masks gives it, survivors doubled.
    double nearest = 1e9;
    for (int mask = 0; mask < 16; ++mask) {
      auto kept = torch::zeros({1, 4}, torch::kDouble);
      for (int64_t j = 0; j < 4; ++j)
        if ((mask >> j) % 2 == 1) kept[0][j] = 2;
      nearest = std::min(nearest, max_difference(kept.matmul(A.t()).matmul(B.t()), added));
    }
    EXPECT_LT(nearest, 1e-12);
    hits += max_difference(added, x.matmul(A.t()).matmul(B.t())) > 1e-6;
  }
  EXPECT_GT(hits, 10);
  EXPECT_THAT([&] { layer->full_weight(); },
              ThrowsMessage<c10::ValueError>(HasSubstr("dropout of 0.5")));
}

TEST(Lora, PatternsMeanWhatPeftMeans) {
  const auto chosen = [](const std::vector<std::string>& targets,
                         const std::vector<std::string>& exclude = {}) {
    DecoderLm model(small());
    return add_lora(*model, {.rank = 1, .targets = targets, .exclude = exclude});
  };
  EXPECT_THAT(chosen({"q", "mlp.fc1"}, {"blocks.1.attention.q"}),
              ElementsAre("blocks.0.attention.q", "blocks.0.mlp.fc1", "blocks.1.mlp.fc1",
                          "blocks.2.attention.q", "blocks.2.mlp.fc1"));
  EXPECT_THAT(chosen({R"(blocks\.[12]\.attention\.(q|out))"}),
              ElementsAre("blocks.1.attention.q", "blocks.1.attention.out", "blocks.2.attention.q",
                          "blocks.2.attention.out"));
  EXPECT_EQ(chosen({"all-linear"}).size(), 3 * 7u);  // without lm_head
  EXPECT_EQ(chosen({"all-linear", "lm_head"}).size(), 3 * 7 + 1u);
  EXPECT_EQ(chosen({"all-linear"}, {".*mlp.*"}).size(), 3 * 4u);
  EXPECT_THAT(
      [&] {
        chosen({"q_proj", "lm"});
      },
      ThrowsMessage<c10::ValueError>(AllOf(HasSubstr("no layer is meant by [q_proj, lm]"),
                                           HasSubstr("blocks.0.attention.q, "),
                                           HasSubstr("lm_head"))));
  EXPECT_THAT([&] { chosen({"(q"}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("'(q' is no regular expression")));
}

TEST(Lora, NamesOfAnotherLibraryAreMeantTooAndExpressionsReadThoseOnly) {
  const auto other = [](const std::string& name) {
    return name == "first" ? std::string("model.up_proj") : std::string();
  };
  const auto chosen = [&](const std::vector<std::string>& targets) {
    Pair m;
    return add_lora(*m, {.rank = 1, .targets = targets}, other);
  };
  EXPECT_THAT(chosen({"up_proj"}), ElementsAre("first"));
  EXPECT_THAT(chosen({"first"}), ElementsAre("first"));
  EXPECT_THAT(chosen({"second"}), ElementsAre("second"));
  EXPECT_THAT(chosen({"^(?!model).*"}), ElementsAre("second"));
}

TEST(Lora, MergingKeepsTheResultsAndRemovingRestoresThem) {
  torch::manual_seed(5);
  DecoderLm model(small());
  model->eval();
  const auto ids = torch::randint(0, 31, {2, 9}, torch::kLong);
  const auto plain = model->forward({.ids = ids}).logits;
  add_lora(*model, {.rank = 3, .alpha = 3, .targets = {"all-linear", "lm_head"}});
  randomize_adapters(*model);
  const auto adapted = model->forward({.ids = ids}).logits;
  EXPECT_GT(relative_error(adapted, plain), 0.05);
  EXPECT_EQ(weft::nn::lora_parameters(*model).size(), 2 * 22u);
  EXPECT_THAT([&] { add_lora(*model, {}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("has an adapter already")));

  EXPECT_EQ(weft::nn::merge_lora(*model), 22);
  EXPECT_TRUE(weft::nn::lora_parameters(*model).empty());
  for (const auto& item : model->named_parameters())
    EXPECT_EQ(item.key().find("lora"), std::string::npos);
  EXPECT_TRUE(close(model->forward({.ids = ids}).logits, adapted, 1e-5));

  const auto merged = model->forward({.ids = ids}).logits;
  add_lora(*model, {.rank = 2});
  randomize_adapters(*model);
  EXPECT_EQ(weft::nn::remove_lora(*model), 21);
  EXPECT_TRUE(torch::equal(model->forward({.ids = ids}).logits, merged));
}

// Whoever multiplies with the weights alone must step aside or see the adapter.
TEST(Lora, GenerationWithAnAdapterIsThatOfTheMergedModel) {
  for (const auto* target :
       {"all-linear", "blocks.2.mlp.fc2", "blocks.1.attention.out", "lm_head"}) {
    SCOPED_TRACE(target);
    torch::manual_seed(6);
    DecoderLm model(small());
    {
      const at::NoGradGuard no_grad;
      for (auto& p : model->parameters())
        if (p.dim() == 2) p.normal_(0, 0.4);
    }
    model->eval();
    const weft::LmInput prompt{.ids = torch::randint(0, 31, {2, 5}, torch::kLong)};
    const auto generate = [&] {
      std::vector<std::vector<int64_t>> out;
      for (auto& answer : weft::text::generate(*model, prompt, {.max_new_tokens = 20}))
        out.push_back(answer.ids);
      return out;
    };
    const auto step = [&] {
      const at::NoGradGuard no_grad;
      weft::nn::KeyValueCache cache;
      model->forward({.ids = prompt.ids, .cache = &cache});
      return model->forward({.ids = prompt.ids.slice(1, 0, 1), .cache = &cache}).logits;
    };
    const auto plain = step();
    add_lora(*model, {.rank = 3, .alpha = 6, .targets = {target}});
    randomize_adapters(*model);
    const auto with = step();
    const auto ids = generate();
    EXPECT_GT(relative_error(with, plain), 1e-3);
    weft::nn::merge_lora(*model);
    EXPECT_TRUE(close(step(), with, 1e-5));
    EXPECT_EQ(generate(), ids);
  }
}

TEST(Lora, TheFastPathOfEncodersSeesTheAdapter) {
  torch::manual_seed(7);
  const weft::nn::InferenceTypeGuard fp32(at::kFloat);
  weft::nn::TransformerStack stack(weft::nn::TransformerStackOptions{
      .block = {.attention = {.hidden_size = 16, .num_heads = 2},
                .mlp = {.hidden_size = 16, .intermediate_size = 24},
                .layer_scale = 0.7},
      .num_layers = 2});
  stack->eval();
  const auto x = torch::randn({2, 5, 16});
  const auto fast = [&] {
    const at::NoGradGuard no_grad;
    const weft::nn::AutocastGuard autocast(at::kCPU);
    return stack->forward(x).x;
  };
  const auto plain = fast();
  add_lora(*stack, {.rank = 2, .alpha = 4});
  EXPECT_TRUE(close(fast(), plain, 1e-6));
  randomize_adapters(*stack);
  const auto adapted = stack->forward(x).x;
  EXPECT_GT(relative_error(adapted, plain), 1e-2);
  EXPECT_TRUE(close(fast(), adapted, 1e-5));
  weft::nn::merge_lora(*stack);
  EXPECT_TRUE(close(fast(), adapted, 1e-5));
}

TEST(Lora, FactorsOfAHalfPrecisionLayerAreFp32AndItsResultsAreNot) {
  torch::manual_seed(8);
  Pair m;
  randomize(m);
  m->to(at::kBFloat16);
  add_lora(*m, {.rank = 2, .alpha = 4, .dropout = 0, .targets = {"first"}});
  randomize_adapters(*m);
  const auto& lora = *m->first->lora();
  EXPECT_EQ(lora.a->weight.scalar_type(), at::kFloat);
  EXPECT_EQ(lora.b->weight.scalar_type(), at::kFloat);
  const auto x = torch::randn({9, 5}).to(at::kBFloat16);
  const auto product = 2 * lora.b->weight.matmul(lora.a->weight);
  const auto found = m->first(x);
  EXPECT_EQ(found.scalar_type(), at::kBFloat16);
  const auto fp32 = [](const torch::Tensor& t) { return t.to(at::kFloat); };
  EXPECT_TRUE(close(
      found, fp32(x).matmul((fp32(m->first->weight) + product).t()) + fp32(m->first->bias), 1e-2));
  const auto merged = (fp32(m->first->weight) + product).to(at::kBFloat16);
  weft::nn::merge_lora(*m);
  EXPECT_TRUE(torch::equal(m->first->weight, merged));
}

TEST(Lora, FollowsAutocast) {
  torch::manual_seed(9);
  Pair m;
  add_lora(*m, {.rank = 2, .alpha = 4, .dropout = 0});
  randomize_adapters(*m);
  const auto x = torch::randn({6, 5});
  const auto expected = m(x);
  torch::Tensor found, gradient;
  {
    const weft::nn::AutocastGuard autocast(at::kCPU);
    found = m(x);
  }
  EXPECT_EQ(found.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(close(found, expected, 0.03));
  found.sum().backward();
  EXPECT_EQ(m->first->lora()->a->weight.grad().scalar_type(), at::kFloat);
}

TEST(Lora, OnlyTheAdaptersTrainAlsoWithActivationsComputedAgain) {
  torch::manual_seed(10);
  DecoderLm model(small());
  add_lora(*model, {.rank = 2, .alpha = 4, .dropout = 0});
  randomize_adapters(*model);
  weft::nn::freeze_all_but_lora(*model);
  const auto ids = torch::randint(0, 31, {2, 6}, torch::kLong);
  std::vector<torch::Tensor> first;
  for (const bool again : {false, true}) {
    weft::nn::checkpoint_activations(*model, again);
    model->zero_grad();
    model->forward({.ids = ids}).logits.square().sum().backward();
    std::vector<torch::Tensor> gradients;
    for (const auto& item : model->named_parameters()) {
      const bool adapter = item.key().find(".lora_") != std::string::npos;
      EXPECT_EQ(item.value().requires_grad(), adapter) << item.key();
      ASSERT_EQ(item.value().grad().defined(), adapter) << item.key();
      if (adapter) gradients.push_back(item.value().grad().clone());
    }
    ASSERT_EQ(gradients.size(), 2 * 21u);
    for (size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(close(gradients[i], first[i], 1e-6));
    first = gradients;
    EXPECT_GT(max_norm(first.front()), 0);
  }
  weft::nn::remove_lora(*model);
  EXPECT_THAT([&] { weft::nn::freeze_all_but_lora(*model); },
              ThrowsMessage<c10::ValueError>(HasSubstr("call add_lora first")));
}

TEST(Lora, AdaptersThatDoNotFitAreErrors) {
  Linear m(LinearOptions{5, 4}), other(LinearOptions{4, 5});
  EXPECT_THAT(
      [&] { m->set_lora(weft::nn::make_lora(*other, 2, 4)); },
      ThrowsMessage<c10::ValueError>(HasSubstr("must be A [rank, 5] and B [4, rank], got")));
  EXPECT_THAT([&] { m->set_lora(weft::nn::make_lora(*m, 2, 4, 1.5)); },
              ThrowsMessage<c10::ValueError>(HasSubstr("dropout must be in [0, 1), got 1.5")));
  EXPECT_THAT([&] { weft::nn::make_lora(*m, 0, 4); },
              ThrowsMessage<c10::ValueError>(HasSubstr("rank must be positive, got 0")));
}

}  // namespace lora_test
