#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <weft/nn/autocast.hpp>
#include <weft/nn/checkpointing.hpp>
#include <weft/nn/random_state.hpp>

namespace weft::nn {
namespace {

using Segment = std::function<at::Tensor(const at::Tensor&)>;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// What the second run repeats.
struct Recipe : torch::CustomClassHolder {
  Segment f;
  RandomState random;
  c10::DeviceType device;
  bool autocast;
  c10::ScalarType autocast_type;
  bool x_requires_grad;
};

struct Checkpoint : torch::autograd::Function<Checkpoint> {
  static at::Tensor forward(AutogradContext* ctx, const Segment& f, const at::Tensor& x,
                            at::TensorList parameters) {
    auto recipe = c10::make_intrusive<Recipe>();
    recipe->f = f;
    recipe->random = RandomState::capture();
    recipe->device = x.device().type();
    recipe->autocast = at::autocast::is_autocast_enabled(recipe->device);
    recipe->autocast_type = at::autocast::get_autocast_dtype(recipe->device);
    recipe->x_requires_grad = x.requires_grad();
    ctx->saved_data["recipe"] = c10::IValue::make_capsule(recipe);
    variable_list saved{x};
    saved.insert(saved.end(), parameters.begin(), parameters.end());
    ctx->save_for_backward(saved);
    return f(x);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grad_output) {
    const auto capsule = ctx->saved_data["recipe"].toCapsule();
    const auto& recipe = static_cast<const Recipe&>(*capsule);
    const auto saved = ctx->get_saved_variables();
    const auto now = RandomState::capture();
    recipe.random.restore();
    variable_list wanted;
    at::Tensor out;
    {
      const at::AutoGradMode grad_on(true);
      const AutocastGuard autocast(recipe.device, recipe.autocast_type, recipe.autocast);
      const auto x = saved[0].detach().requires_grad_(recipe.x_requires_grad);
      out = recipe.f(x);
      if (recipe.x_requires_grad) wanted.push_back(x);
    }
    now.restore();
    for (size_t i = 1; i < saved.size(); ++i)
      if (saved[i].requires_grad()) wanted.push_back(saved[i]);
    const auto grads = torch::autograd::grad({out}, wanted, {grad_output[0]}, std::nullopt,
                                             /*create_graph=*/false, /*allow_unused=*/true);
    variable_list result{at::Tensor()};  // of f
    size_t next = 0;
    result.push_back(recipe.x_requires_grad ? grads[next++] : at::Tensor());
    for (size_t i = 1; i < saved.size(); ++i)
      result.push_back(saved[i].requires_grad() ? grads[next++] : at::Tensor());
    return result;
  }
};

}  // namespace

at::Tensor checkpoint(const Segment& f, const at::Tensor& x,
                      const std::vector<at::Tensor>& parameters) {
  TORCH_CHECK_VALUE(f && x.defined(), "checkpoint: a function and a tensor are needed");
  if (!at::GradMode::is_enabled()) return f(x);
  return Checkpoint::apply(f, x, at::TensorList(parameters));
}

}  // namespace weft::nn
