#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_lerp.h>

#include <weft/train/ema.hpp>

namespace weft::train {

Ema::Ema(const NamedTensors& parameters, double decay) : decay_(decay) {
  TORCH_CHECK_VALUE(decay > 0 && decay < 1, "Ema: decay must be in (0, 1), got ", decay);
  for (const auto& [name, parameter] : parameters) {
    parameters_.push_back(parameter);
    averages_.emplace_back(name, parameter.detach().clone());
  }
}

void Ema::update() {
  const at::NoGradGuard no_grad;
  std::vector<Tensor> averages;
  for (const auto& [name, tensor] : averages_) averages.push_back(tensor);
  at::_foreach_lerp_(averages, parameters_, 1 - decay_);
}

void Ema::copy_to_parameters() const {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < averages_.size(); ++i) Tensor(parameters_[i]).copy_(averages_[i].second);
}

}  // namespace weft::train
