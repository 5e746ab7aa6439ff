#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <unordered_set>

#include <fmt/ranges.h>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/nn/module.h>

#include <weft/train/optimizer.hpp>

#include "core/fail.hpp"

namespace weft::train {
namespace {

// Tables and tokens that are added to or stand beside the features; weight decay would pull them to
// nothing in particular.
constexpr std::string_view kUndecayed[] = {"positions",  "class_token", "register_tokens",
                                           "mask_token", "queries",     "logit_scale"};

bool has_fused_kernel(const Tensor& parameter) {
  return (parameter.is_cpu() || parameter.is_cuda()) && parameter.is_floating_point() &&
         parameter.is_non_overlapping_and_dense();
}

// The fused kernels walk through memory, so a gradient needs its parameter's layout.
Tensor aligned_gradient(const Tensor& parameter) {
  const auto& gradient = parameter.grad();
  if (gradient.strides() == parameter.strides()) return gradient;
  return at::empty_like(parameter).copy_(gradient);
}

std::vector<Tensor> gradients(const NamedTensors& parameters) {
  std::vector<Tensor> out;
  out.reserve(parameters.size());
  for (const auto& [name, parameter] : parameters)
    if (parameter.grad().defined()) out.push_back(parameter.grad());
  return out;
}

bool is_finite(const Tensor& tensor) {
  return !tensor.is_floating_point() || at::isfinite(tensor).all().item<bool>();
}

}  // namespace

NamedTensors trainable_parameters(const torch::nn::Module& module) {
  NamedTensors out;
  std::unordered_set<const void*> seen;
  for (const auto& item : module.named_parameters())
    if (item.value().requires_grad() && seen.insert(item.value().unsafeGetTensorImpl()).second)
      out.emplace_back(item.key(), item.value());
  return out;
}

ParameterRule default_rule(std::string_view name, const Tensor& parameter) {
  bool decay = parameter.dim() >= 2;
  for (size_t start = 0; decay && start <= name.size();) {
    const auto end = std::min(name.find('.', start), name.size());
    const auto part = name.substr(start, end - start);
    decay = std::ranges::find(kUndecayed, part) == std::end(kUndecayed) && part != "bias";
    start = end + 1;
  }
  return {.decay = decay};
}

AdamW::AdamW(const NamedTensors& parameters, const AdamWOptions& options, const GroupRule& rule)
    : options_(options) {
  const auto& o = options;
  TORCH_CHECK_VALUE(o.beta1 >= 0 && o.beta1 < 1 && o.beta2 >= 0 && o.beta2 < 1,
                    "AdamW: beta1 and beta2 must be in [0, 1), got ", o.beta1, " and ", o.beta2);
  TORCH_CHECK_VALUE(o.eps >= 0 && o.weight_decay >= 0,
                    "AdamW: eps and weight_decay must not be negative, got ", o.eps, " and ",
                    o.weight_decay);
  std::set<std::string_view> names;
  for (const auto& [name, parameter] : parameters) {
    TORCH_CHECK_VALUE(names.insert(name).second, "AdamW: names must be unique, got '", name,
                      "' twice");
    const auto wanted = rule(name, parameter);
    auto group = std::ranges::find(groups_, wanted, &ParameterGroup::rule);
    if (group == groups_.end()) group = groups_.insert(group, ParameterGroup{.rule = wanted});
    group->names.push_back(name);
    group->parameters.push_back(parameter);
  }
  for (const auto& group : groups_) states_.emplace_back(group.parameters.size());
}

void AdamW::prepare(const Tensor& parameter, State& state) const {
  if (state.exp_avg.defined()) return;
  state.exp_avg = at::zeros_like(parameter);
  state.exp_avg_sq = at::zeros_like(parameter);
  // CUDA's fused kernel reads the count on the device.
  const auto device = parameter.is_cuda() ? parameter.device() : at::Device(at::kCPU);
  state.step = at::zeros({}, at::TensorOptions().dtype(at::kFloat).device(device));
}

void AdamW::step(double lr) {
  at::NoGradGuard no_grad;
  const auto& o = options_;
  for (size_t g = 0; g < groups_.size(); ++g) {
    auto& group = groups_[g];
    const auto group_lr = lr * group.rule.lr_scale;
    const auto decay = group.rule.decay ? o.weight_decay : 0.0;
    // The fused kernel takes tensors of one device and type at a time.
    std::map<std::pair<std::string, at::ScalarType>, std::array<std::vector<Tensor>, 5>> fused;
    for (size_t i = 0; i < group.parameters.size(); ++i) {
      auto& parameter = group.parameters[i];
      if (!parameter.grad().defined()) continue;
      auto& state = states_[g][i];
      prepare(parameter, state);
      if (o.fused && has_fused_kernel(parameter)) {
        auto& lists = fused[{parameter.device().str(), parameter.scalar_type()}];
        lists[0].push_back(parameter);
        lists[1].push_back(aligned_gradient(parameter));
        lists[2].push_back(state.exp_avg);
        lists[3].push_back(state.exp_avg_sq);
        lists[4].push_back(state.step);
      } else {
        step_plain(parameter, parameter.grad(), state, group_lr, decay);
      }
    }
    for (auto& [key, lists] : fused) {
      at::_foreach_add_(lists[4], 1);
      at::_fused_adamw_(lists[0], lists[1], lists[2], lists[3], {}, lists[4], group_lr, o.beta1,
                        o.beta2, decay, o.eps, /*amsgrad=*/false, /*maximize=*/false);
    }
  }
}

void AdamW::step_plain(Tensor& parameter, const Tensor& gradient, State& state, double lr,
                       double decay) {
  const auto& o = options_;
  state.step.add_(1);
  const auto count = state.step.item<double>();
  if (decay > 0) parameter.mul_(1 - lr * decay);
  state.exp_avg.lerp_(gradient, 1 - o.beta1);
  state.exp_avg_sq.mul_(o.beta2).addcmul_(gradient, gradient, 1 - o.beta2);
  const auto root = std::sqrt(1 - std::pow(o.beta2, count));
  const auto denominator = state.exp_avg_sq.sqrt().div_(root).add_(o.eps);
  parameter.addcdiv_(state.exp_avg, denominator, -lr / (1 - std::pow(o.beta1, count)));
}

void AdamW::zero_grad() {
  for (auto& group : groups_)
    for (auto& parameter : group.parameters) parameter.mutable_grad() = Tensor();
}

NamedTensors AdamW::state() const {
  NamedTensors out;
  for (size_t g = 0; g < groups_.size(); ++g) {
    for (size_t i = 0; i < states_[g].size(); ++i) {
      const auto& state = states_[g][i];
      if (!state.exp_avg.defined()) continue;
      const auto& name = groups_[g].names[i];
      out.emplace_back(name + ".exp_avg", state.exp_avg);
      out.emplace_back(name + ".exp_avg_sq", state.exp_avg_sq);
      out.emplace_back(name + ".step", state.step);
    }
  }
  return out;
}

void AdamW::restore(const std::map<std::string, Tensor>& state) {
  at::NoGradGuard no_grad;
  std::vector<std::string> wrong;
  size_t used = 0;
  auto restored = states_;
  for (size_t g = 0; g < groups_.size(); ++g) {
    for (size_t i = 0; i < restored[g].size(); ++i) {
      const auto& parameter = groups_[g].parameters[i];
      const auto& name = groups_[g].names[i];
      auto& own = restored[g][i];
      own = State{};
      const auto copy = [&](const char* suffix, Tensor State::*member) {
        const auto found = state.find(name + suffix);
        if (found == state.end()) return false;
        ++used;
        prepare(parameter, own);
        if (found->second.sizes() == (own.*member).sizes())
          (own.*member).copy_(found->second);
        else
          wrong.push_back(fmt::format("{}: expected shape [{}], found [{}]", found->first,
                                      fmt::join((own.*member).sizes(), ", "),
                                      fmt::join(found->second.sizes(), ", ")));
        return true;
      };
      const int count = copy(".exp_avg", &State::exp_avg) +
                        copy(".exp_avg_sq", &State::exp_avg_sq) + copy(".step", &State::step);
      if (count != 0 && count != 3)
        wrong.push_back(name + ": exp_avg, exp_avg_sq and step must come together");
    }
  }
  if (used != state.size()) {
    for (const auto& [key, value] : state) {
      bool known = false;
      for (const auto& group : groups_)
        for (const auto& name : group.names)
          known |= key == name + ".exp_avg" || key == name + ".exp_avg_sq" || key == name + ".step";
      if (!known) wrong.push_back(key + ": no such parameter is trained");
    }
  }
  if (!wrong.empty())
    fail("optimiser state: {} entries do not fit the model:\n  {}", wrong.size(),
         fmt::join(wrong, "\n  "));
  states_ = std::move(restored);
}

Tensor gradient_norm(const NamedTensors& parameters) {
  at::NoGradGuard no_grad;
  const auto list = gradients(parameters);
  if (list.empty()) return at::zeros({}, at::kFloat);
  auto norms = at::_foreach_norm(list, 2);
  for (auto& norm : norms) norm = norm.to(norms.front().device(), at::kFloat);
  return at::linalg_vector_norm(at::stack(norms));
}

void clip_gradients_(const NamedTensors& parameters, double norm, double max_norm) {
  at::NoGradGuard no_grad;
  // In fp32, as the reference computes the factor.
  const auto factor = static_cast<float>(max_norm) / (static_cast<float>(norm) + 1e-6f);
  if (!(factor < 1)) return;
  auto list = gradients(parameters);
  at::_foreach_mul_(list, static_cast<double>(factor));
}

std::string first_bad_gradient(const NamedTensors& parameters) {
  for (const auto& [name, parameter] : parameters)
    if (parameter.grad().defined() && !is_finite(parameter.grad())) return name;
  return {};
}

std::string first_bad_tensor(const NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors)
    if (tensor.defined() && !is_finite(tensor)) return name;
  return {};
}

}  // namespace weft::train
