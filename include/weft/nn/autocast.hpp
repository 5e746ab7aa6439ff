#pragma once

#include <c10/core/DeviceType.h>
#include <c10/core/ScalarType.h>

#include <weft/core/export.hpp>

namespace weft::nn {

/// Autocast on this thread while it lives: what torch.autocast(device, dtype, enabled) is in
/// Python. The outermost one drops the cache of cast weights when it ends, without which an
/// optimiser's step would go unseen.
class WEFT_API AutocastGuard {
 public:
  explicit AutocastGuard(c10::DeviceType device, c10::ScalarType dtype = c10::kBFloat16,
                         bool enabled = true);
  ~AutocastGuard();
  AutocastGuard(const AutocastGuard&) = delete;
  AutocastGuard& operator=(const AutocastGuard&) = delete;

 private:
  c10::DeviceType device_;
  c10::ScalarType previous_dtype_;
  bool previous_enabled_;
};

}  // namespace weft::nn
