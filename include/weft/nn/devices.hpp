#pragma once

#include <string>

#include <c10/core/Device.h>

#include <weft/core/export.hpp>

namespace weft::nn {

/// "cpu", "cuda", "cuda:1", or "auto": the first CUDA device where there is one, else the CPU.
/// Throws weft::Error for other names and for devices that this build or machine lacks.
WEFT_API c10::Device parse_device(const std::string& name);

}  // namespace weft::nn
