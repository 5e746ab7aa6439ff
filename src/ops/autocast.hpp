#pragma once

#include <ATen/autocast_mode.h>

namespace weft::ops {

/// Whether autocast is on for a device; false for those that know none, such as Meta.
inline bool autocast_is_on(at::DeviceType device) {
  return at::autocast::is_autocast_available(device) && at::autocast::is_autocast_enabled(device);
}

}  // namespace weft::ops
