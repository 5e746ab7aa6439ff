#pragma once

#include <map>
#include <string>

#include <weft/train/optimizer.hpp>

namespace weft::train {

/// The exponential moving average of parameters (Polyak and Juditsky, 1992), as timm's ModelEmaV2:
/// it starts at their values, and after each step  average <- decay average + (1 - decay) value.
class WEFT_API Ema {
 public:
  /// Throws c10::ValueError for a decay outside of (0, 1).
  Ema(const NamedTensors& parameters, double decay);

  void update();
  /// The averages under the parameters' names; the tensors are its own.
  const NamedTensors& averages() const { return averages_; }
  /// Writes the averages into the parameters.
  void copy_to_parameters() const;

 private:
  std::vector<Tensor> parameters_;
  NamedTensors averages_;
  double decay_;
};

}  // namespace weft::train
