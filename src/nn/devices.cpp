#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>

#include <weft/nn/devices.hpp>

#include "core/fail.hpp"

namespace weft::nn {

c10::Device parse_device(const std::string& name) {
  const int count = at::globalContext().hasCUDA()
                        ? static_cast<int>(at::detail::getCUDAHooks().deviceCount())
                        : 0;
  if (name == "auto") return count > 0 ? c10::Device(c10::kCUDA, 0) : c10::Device(c10::kCPU);
  if (name == "cpu") return c10::Device(c10::kCPU);
  const bool numbered = name.rfind("cuda:", 0) == 0 && name.size() > 5 && name.size() < 9 &&
                        name.find_first_not_of("0123456789", 5) == std::string::npos;
  if (name != "cuda" && !numbered)
    fail(ErrorKind::usage, "device: expected cpu, cuda, cuda:N or auto, found '{}'", name);
  const int index = numbered ? std::stoi(name.substr(5)) : 0;
  if (index >= count)
    fail(ErrorKind::usage,
         "device {}: this build of libtorch sees {} CUDA devices; use --device cpu", name, count);
  return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
}

}  // namespace weft::nn
