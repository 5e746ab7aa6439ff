#pragma once

#include <string_view>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/core/options.hpp>

namespace weft::nn {

/// Fills `tensor` from the normal distribution N(mean, std^2) cut to [low, high], in place, by the
/// inverse of its distribution function; one uniform draw an element. Returns `tensor`.
WEFT_API at::Tensor trunc_normal_(at::Tensor tensor, double mean = 0.0, double std = 1.0,
                                  double low = -2.0, double high = 2.0);

/// While one lives, modules of this library that are built on this thread leave their parameters
/// unset and draw no random numbers: for loaders, which overwrite them all.
class WEFT_API NoInitGuard {
 public:
  NoInitGuard();
  ~NoInitGuard();
  NoInitGuard(const NoInitGuard&) = delete;
  NoInitGuard& operator=(const NoInitGuard&) = delete;
  static bool active();

 private:
  bool previous_;
};

/// The initialisers of modules: nothing under a NoInitGuard.
WEFT_API at::Tensor init_weight(at::Tensor tensor, double std = 0.02);  ///< trunc_normal_(0, std)
WEFT_API at::Tensor init_constant(at::Tensor tensor, double value);
WEFT_API at::Tensor init_normal(at::Tensor tensor, double std);     ///< N(0, std^2), not cut
WEFT_API at::Tensor init_uniform(at::Tensor tensor, double bound);  ///< in [-bound, bound]

/// How a transformer tower starts.
enum class Initialization {
  trunc_normal,  ///< init_weight everywhere, biases 0 (ViT, BERT)
  clip,          ///< as open_clip's towers start, which differ between image and text
};

}  // namespace weft::nn

template <>
inline constexpr std::string_view weft::enum_names<weft::nn::Initialization>[] = {"trunc_normal",
                                                                                  "clip"};
