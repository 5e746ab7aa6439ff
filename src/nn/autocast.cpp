#include <ATen/autocast_mode.h>

#include <weft/nn/autocast.hpp>

namespace weft::nn {

AutocastGuard::AutocastGuard(c10::DeviceType device, c10::ScalarType dtype, bool enabled)
    : device_(device),
      previous_dtype_(at::autocast::get_autocast_dtype(device)),
      previous_enabled_(at::autocast::is_autocast_enabled(device)) {
  TORCH_CHECK_VALUE(!enabled || dtype == c10::kBFloat16 || dtype == c10::kHalf,
                    "AutocastGuard: the type must be bfloat16 or float16, got ", dtype);
  at::autocast::set_autocast_enabled(device, enabled);
  if (enabled) at::autocast::set_autocast_dtype(device, dtype);
  at::autocast::increment_nesting();
}

AutocastGuard::~AutocastGuard() {
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_dtype(device_, previous_dtype_);
  at::autocast::set_autocast_enabled(device_, previous_enabled_);
}

}  // namespace weft::nn
