#include <cmath>
#include <fstream>

#include <torch/torch.h>

#include <weft/train/optimizer.hpp>

#include "support/gmock.hpp"
#include "support/python.hpp"

namespace optimizer_test {

using namespace weft::test;
using weft::train::AdamW;
using weft::train::AdamWOptions;
using weft::train::NamedTensors;

NamedTensors make_parameters() {
  torch::manual_seed(3);
  NamedTensors out;
  // Odd counts, one above the kernels' vector length, a scalar, a transposed layout.
  out.emplace_back("fc.weight", torch::randn({17, 33}));
  out.emplace_back("fc.bias", torch::randn({17}));
  out.emplace_back("table", torch::randn({5, 2057}));
  out.emplace_back("logit_scale", torch::randn({}));
  out.emplace_back("mixed.weight", torch::randn({9, 8}).t());
  for (auto& [name, tensor] : out) tensor.set_requires_grad(true);
  return out;
}

torch::Tensor gradient(const torch::Tensor& parameter, int64_t step) {
  torch::manual_seed(100 + step);
  // Small and large ones, so that both terms of the denominator matter.
  return torch::randn(parameter.sizes()) * std::pow(10.0, -(step % 7));
}

// Loshchilov and Hutter 2019, algorithm 2, as torch.optim.AdamW parametrises it, in fp64.
struct Reference {
  torch::Tensor p, m, v;
  int64_t t = 0;
  explicit Reference(const torch::Tensor& start)
      : p(start.detach().to(torch::kDouble).contiguous().clone()),
        m(torch::zeros_like(p)),
        v(torch::zeros_like(p)) {}
  void step(const torch::Tensor& g32, double lr, double wd, const AdamWOptions& o) {
    const auto g = g32.to(torch::kDouble);
    ++t;
    p = p - lr * wd * p;
    m = o.beta1 * m + (1 - o.beta1) * g;
    v = o.beta2 * v + (1 - o.beta2) * g * g;
    const auto m_hat = m / (1 - std::pow(o.beta1, t)), v_hat = v / (1 - std::pow(o.beta2, t));
    p = p - lr * m_hat / (v_hat.sqrt() + o.eps);
  }
};

struct AdamWKernels : testing::TestWithParam<bool> {};

TEST_P(AdamWKernels, FollowTheDefinition) {
  const AdamWOptions options{
      .beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6, .weight_decay = 0.2, .fused = GetParam()};
  auto parameters = make_parameters();
  std::vector<Reference> references;
  for (const auto& [name, parameter] : parameters) references.emplace_back(parameter);
  AdamW optimizer(parameters, options);
  for (int64_t step = 0; step < 30; ++step) {
    const auto lr = 1e-2 * (1 - step / 40.0);
    for (size_t i = 0; i < parameters.size(); ++i) {
      auto& [name, parameter] = parameters[i];
      parameter.mutable_grad() = gradient(parameter, step);
      const bool decays = name != "fc.bias" && name != "logit_scale";
      references[i].step(parameter.grad(), lr, decays ? 0.2 : 0.0, options);
    }
    optimizer.step(lr);
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    const auto difference =
        (parameters[i].second.detach().to(torch::kDouble) - references[i].p).abs().max();
    EXPECT_LT(difference.item<double>(), 2e-6) << parameters[i].first;
  }
}

TEST_P(AdamWKernels, LeaveParametersWithoutGradientAlone) {
  auto parameters = make_parameters();
  const auto before = parameters[0].second.detach().clone();
  AdamW optimizer(parameters, {.fused = GetParam()});
  parameters[1].second.mutable_grad() = torch::ones({17});
  optimizer.step(0.1);
  EXPECT_TRUE(torch::equal(parameters[0].second, before));
  EXPECT_EQ(optimizer.state().size(), 3u);
  optimizer.zero_grad();
  EXPECT_FALSE(parameters[1].second.grad().defined());
}

TEST_P(AdamWKernels, GoOnExactlyFromARestoredState) {
  const AdamWOptions options{.weight_decay = 0.1, .fused = GetParam()};
  auto straight = make_parameters(), resumed = make_parameters();
  AdamW first(straight, options), second(resumed, options);
  const auto run = [](NamedTensors& parameters, AdamW& optimizer, int64_t begin, int64_t end) {
    for (int64_t step = begin; step < end; ++step) {
      for (auto& [name, parameter] : parameters)
        parameter.mutable_grad() = gradient(parameter, step);
      optimizer.step(1e-2);
    }
  };
  run(straight, first, 0, 10);
  run(resumed, second, 0, 4);
  std::map<std::string, torch::Tensor> saved;
  for (const auto& [name, tensor] : second.state()) saved[name] = tensor.clone();
  AdamW third(resumed, options);
  third.restore(saved);
  run(resumed, third, 4, 10);
  for (size_t i = 0; i < straight.size(); ++i)
    EXPECT_TRUE(torch::equal(straight[i].second, resumed[i].second)) << straight[i].first;
}

INSTANTIATE_TEST_SUITE_P(, AdamWKernels, testing::Bool(),
                         [](const auto& info) { return info.param ? "Fused" : "Plain"; });

TEST(AdamW, EqualsPyTorchsOwn) {
  WEFT_NEEDS_PYTHON();
  const TempFolder folder;
  auto parameters = make_parameters();
  std::vector<torch::Tensor> start, steps;
  for (const auto& [name, parameter] : parameters)
    start.push_back(parameter.detach().contiguous().clone());
  AdamW optimizer(parameters, {.eps = 1e-8, .weight_decay = 0.05});
  for (int64_t step = 0; step < 20; ++step) {
    for (auto& [name, parameter] : parameters) {
      parameter.mutable_grad() = gradient(parameter, step);
      steps.push_back(parameter.grad().clone());
    }
    optimizer.step(1e-3);
  }
  torch::save(start, (folder / "start.pt").string());
  torch::save(steps, (folder / "gradients.pt").string());
  std::vector<torch::Tensor> ours;
  for (const auto& [name, parameter] : parameters)
    ours.push_back(parameter.detach().contiguous().clone());
  torch::save(ours, (folder / "ours.pt").string());
  ASSERT_TRUE(weft::test::run_python(R"(
import sys, torch
def load(name):
    m = torch.jit.load(sys.argv[1] + "/" + name)
    return [dict(m.named_parameters())[str(i)].detach().clone() for i in range(len(list(m.parameters())))]
start, gradients, ours = load("start.pt"), load("gradients.pt"), load("ours.pt")
ps = [torch.nn.Parameter(p) for p in start]
decay, rest = [ps[0], ps[2], ps[4]], [ps[1], ps[3]]
o = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}],
                      1e-3, eps=1e-8, foreach=False, fused=False)
for s in range(20):
    for i, p in enumerate(ps): p.grad = gradients[s * len(ps) + i]
    o.step()
worst = max(((p - q).abs() / (p.abs() + 1e-3)).max().item() for p, q in zip(ps, ours))
open(sys.argv[1] + "/worst", "w").write(str(worst))
)",
                                     folder.path()));
  double worst = 1;
  std::ifstream(folder / "worst") >> worst;
  EXPECT_LT(worst, 1e-6);
}

TEST(AdamW, DecaysWeightsAndNothingElse) {
  const auto matrix = torch::zeros({4, 4}), vector = torch::zeros({4});
  const auto decays = [](std::string_view name, const torch::Tensor& parameter) {
    return weft::train::default_rule(name, parameter).decay;
  };
  for (const auto* name : {"blocks.0.attention.q.weight", "mlp.fc1.weight", "patch_embed.weight",
                           "token_embed.weight", "image_projection.weight"})
    EXPECT_TRUE(decays(name, matrix)) << name;
  for (const auto* name :
       {"image.positions", "text.positions.weight", "image.class_token", "register_tokens",
        "image.mask_token", "fc.bias", "fusion.queries", "logit_scale"})
    EXPECT_FALSE(decays(name, matrix)) << name;
  for (const auto* name : {"norm.weight", "blocks.0.scale1", "attention.q.bias"})
    EXPECT_FALSE(decays(name, vector)) << name;
}

TEST(AdamW, GroupsByRuleAndScalesTheLearningRate) {
  auto parameters = make_parameters();
  const auto before = parameters[1].second.detach().clone();
  AdamW optimizer(parameters, {.eps = 0, .weight_decay = 0},
                  [](std::string_view name, const torch::Tensor& parameter) {
                    auto rule = weft::train::default_rule(name, parameter);
                    if (name == "fc.bias") rule.lr_scale = 0.1;
                    return rule;
                  });
  ASSERT_EQ(optimizer.groups().size(), 3u);
  EXPECT_THAT(optimizer.groups()[0].names, ElementsAre("fc.weight", "table", "mixed.weight"));
  EXPECT_THAT(optimizer.groups()[1].names, ElementsAre("fc.bias"));
  EXPECT_THAT(optimizer.groups()[2].names, ElementsAre("logit_scale"));
  parameters[1].second.mutable_grad() = torch::full({17}, 2.0);
  optimizer.step(0.5);
  // The first step of Adam is lr times the gradient's sign.
  EXPECT_TRUE(torch::allclose(before - parameters[1].second, torch::full({17}, 0.05), 1e-4, 1e-6));
}

TEST(AdamW, ListsEverythingThatDoesNotFit) {
  auto parameters = make_parameters();
  AdamW optimizer(parameters);
  std::map<std::string, torch::Tensor> state = {{"fc.bias.exp_avg", torch::zeros({3})},
                                                {"fc.bias.exp_avg_sq", torch::zeros({17})},
                                                {"fc.bias.step", torch::zeros({})},
                                                {"table.exp_avg", torch::zeros({5, 2057})},
                                                {"absent.exp_avg_sq", torch::zeros({17})}};
  EXPECT_THAT(
      [&] { optimizer.restore(state); },
      ThrowsMessage<weft::Error>(testing::AllOf(
          HasSubstr("3 entries"), HasSubstr("fc.bias.exp_avg: expected shape [17], found [3]"),
          HasSubstr("table: exp_avg, exp_avg_sq and step must come together"),
          HasSubstr("absent.exp_avg_sq: no such parameter is trained"))));
  EXPECT_TRUE(optimizer.state().empty());
}

TEST(AdamW, TrainsTiedWeightsOnce) {
  torch::nn::Linear a(3, 3), b(3, 3), frozen(3, 3);
  struct Tied : torch::nn::Module {};
  Tied module;
  module.register_module("a", a);
  module.register_module("b", b);
  module.register_module("frozen", frozen);
  b->weight = b->register_parameter("tied", a->weight);
  for (auto& parameter : frozen->parameters()) parameter.set_requires_grad(false);
  std::vector<std::string> names;
  for (const auto& [name, tensor] : weft::train::trainable_parameters(module))
    names.push_back(name);
  EXPECT_THAT(names, ElementsAre("a.weight", "a.bias", "b.weight", "b.bias"));
}

TEST(AdamW, RefusesOptionsOutOfRange) {
  EXPECT_THAT([] { AdamW({}, {.beta2 = 1.0}); },
              ThrowsMessage<c10::ValueError>(HasSubstr("must be in [0, 1), got 0.9 and 1")));
  EXPECT_THAT(
      [] {
        AdamW({{"w", torch::zeros({2})}, {"w", torch::zeros({2})}});
      },
      ThrowsMessage<c10::ValueError>(HasSubstr("got 'w' twice")));
}

TEST(GradientNorm, IsTheNormOfAllAndClipsAsPyTorchDoes) {
  auto parameters = make_parameters();
  double squares = 0;
  for (auto& [name, parameter] : parameters) {
    parameter.mutable_grad() = gradient(parameter, 0);
    squares += parameter.grad().to(torch::kDouble).square().sum().item<double>();
  }
  const auto norm = weft::train::gradient_norm(parameters).item<double>();
  EXPECT_NEAR(norm, std::sqrt(squares), 1e-5 * norm);
  std::vector<torch::Tensor> copies;
  for (const auto& [name, parameter] : parameters) {
    copies.push_back(parameter.detach().clone());
    copies.back().mutable_grad() = parameter.grad().clone();
  }
  EXPECT_NEAR(torch::nn::utils::clip_grad_norm_(copies, 0.7), norm, 1e-5 * norm);
  weft::train::clip_gradients_(parameters, norm, 0.7);
  for (size_t i = 0; i < copies.size(); ++i)
    EXPECT_TRUE(torch::allclose(copies[i].grad(), parameters[i].second.grad(), 1e-6, 0));
  EXPECT_NEAR(weft::train::gradient_norm(parameters).item<double>(), 0.7, 1e-5);
  const auto small = parameters[0].second.grad().clone();
  weft::train::clip_gradients_(parameters, 0.7, 1.0);
  EXPECT_TRUE(torch::equal(small, parameters[0].second.grad()));
}

TEST(GradientNorm, NamesTheFirstBadTensor) {
  auto parameters = make_parameters();
  EXPECT_EQ(weft::train::gradient_norm(parameters).item<double>(), 0);
  for (auto& [name, parameter] : parameters)
    parameter.mutable_grad() = torch::ones(parameter.sizes());
  EXPECT_EQ(weft::train::first_bad_gradient(parameters), "");
  parameters[2].second.grad()[4][7] = INFINITY;
  parameters[3].second.grad().fill_(NAN);
  EXPECT_EQ(weft::train::first_bad_gradient(parameters), "table");
  EXPECT_EQ(weft::train::first_bad_tensor(parameters), "");
}

}  // namespace optimizer_test
