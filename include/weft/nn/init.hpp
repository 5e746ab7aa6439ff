#pragma once

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>

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

}  // namespace weft::nn
