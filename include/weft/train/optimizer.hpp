#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>

namespace torch::nn {
class Module;
}

namespace weft::train {

using at::Tensor;
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// The parameters of `module` that require gradients, in registration order; one that is registered
/// under several names (tied weights) stands under its first.
WEFT_API NamedTensors trainable_parameters(const torch::nn::Module& module);

/// What a parameter's group is told by: equal rules make one group.
struct ParameterRule {
  bool decay = true;
  double lr_scale = 1;  ///< times the schedule's learning rate
  bool operator==(const ParameterRule&) const = default;
};
using GroupRule = std::function<ParameterRule(std::string_view name, const Tensor& parameter)>;

/// The default rule: weights of two or more dimensions decay; biases, norms and everything else of
/// at most one dimension, position tables, class, register and mask tokens, learned queries and
/// logit_scale do not. (open_clip decides by the same list but for the tables and tokens.)
WEFT_API ParameterRule default_rule(std::string_view name, const Tensor& parameter);

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;
  bool fused = true;  ///< ATen's fused kernel where the parameter's device and layout allow it
};

struct ParameterGroup {
  ParameterRule rule = {};
  std::vector<std::string> names = {};
  std::vector<Tensor> parameters = {};
};

/// AdamW (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101), step by step that of
/// torch.optim.AdamW: with g the gradient, t the steps of this parameter,
///   p <- p - lr wd p;  m <- m + (1 - b1)(g - m);  v <- b2 v + (1 - b2) g^2
///   p <- p - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)
/// A parameter without a gradient is left alone and its t stays.
class WEFT_API AdamW {
 public:
  /// Throws c10::ValueError for options out of range and for names that occur twice.
  explicit AdamW(const NamedTensors& parameters, const AdamWOptions& options = {},
                 const GroupRule& rule = default_rule);

  /// Learning rates come from the schedule at every step.
  void step(double lr);
  /// Gradients become undefined.
  void zero_grad();

  const std::vector<ParameterGroup>& groups() const { return groups_; }
  const AdamWOptions& options() const { return options_; }

  /// "<parameter>.exp_avg", "<parameter>.exp_avg_sq" and "<parameter>.step" ([], fp32) of every
  /// parameter that has been stepped. The tensors are the optimiser's own.
  NamedTensors state() const;
  /// Copies a state() back; parameters that it does not name begin anew. One weft::Error lists all
  /// unknown names and wrong shapes.
  void restore(const std::map<std::string, Tensor>& state);

 private:
  struct State {
    Tensor exp_avg, exp_avg_sq, step;  // exp_avg undefined: not stepped yet
  };
  void prepare(const Tensor& parameter, State& state) const;
  void step_plain(Tensor& parameter, const Tensor& gradient, State& state, double lr, double decay);

  AdamWOptions options_;
  std::vector<ParameterGroup> groups_;
  std::vector<std::vector<State>> states_;  // as groups_
};

/// sqrt(sum of squares) over all gradients, [] fp32; parameters without one are left out. The same
/// order of operations as torch.nn.utils.get_total_norm: the norm of the tensors' norms.
WEFT_API Tensor gradient_norm(const NamedTensors& parameters);
/// torch.nn.utils.clip_grad_norm_ with a norm that is known: gradients are multiplied by
/// max_norm / (norm + 1e-6) where that is below 1.
WEFT_API void clip_gradients_(const NamedTensors& parameters, double norm, double max_norm);
/// The first parameter whose gradient is not finite; empty where all are.
WEFT_API std::string first_bad_gradient(const NamedTensors& parameters);
/// The first tensor that is not finite itself; empty where all are.
WEFT_API std::string first_bad_tensor(const NamedTensors& tensors);

}  // namespace weft::train
