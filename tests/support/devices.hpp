#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>

namespace weft::test {

/// The CPU, and the first CUDA device where there is one: what tests of ops take as their
/// parameter.
inline std::vector<at::Device> devices() {
  std::vector<at::Device> out = {at::Device(at::kCPU)};
  if (at::globalContext().hasCUDA() && at::detail::getCUDAHooks().deviceCount() > 0)
    out.emplace_back(at::kCUDA, 0);
  return out;
}

/// "cpu" or "cuda": the end of a test's name, by which scripts/gpu_check finds those of a GPU.
inline std::string device_name(const testing::TestParamInfo<at::Device>& info) {
  return info.param.is_cuda() ? "cuda" : "cpu";
}

}  // namespace weft::test
