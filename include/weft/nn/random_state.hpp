#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>

namespace weft::nn {

/// The state of torch's default random generators, of the CPU and of every CUDA device, as byte
/// tensors that a checkpoint can hold.
struct WEFT_API RandomState {
  at::Tensor cpu = {};                ///< [bytes] uint8
  std::vector<at::Tensor> cuda = {};  ///< one per device; empty without CUDA

  static RandomState capture();
  void restore() const;  ///< devices that this machine lacks are left out
};

/// Seeds the default generators of the CPU and of every CUDA device.
WEFT_API void seed_all(uint64_t seed);

}  // namespace weft::nn
