#pragma once

#include <filesystem>
#include <map>
#include <string>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/io/safetensors.hpp>

namespace weft::checkpoint {

using at::Tensor;
using TensorMap = std::map<std::string, Tensor>;

/// Element types that both sides know; Error names the tensor or type otherwise.
WEFT_API at::ScalarType scalar_type(io::DType type);
WEFT_API io::DType dtype_of(at::ScalarType type);

/// A tensor over the mapped file, without a copy; the mapping lives as long as the tensor. It must
/// not be written to. Data that is not aligned to its element type is copied instead.
WEFT_API Tensor borrow_tensor(const io::TensorView& view);

/// All tensors of a file, copied to memory.
WEFT_API TensorMap read_tensors(const std::filesystem::path& path);
/// Any device, any strides; whole or absent, and on the disk when this returns.
WEFT_API void write_tensors(const std::filesystem::path& path, const TensorMap& tensors,
                            const std::map<std::string, std::string>& metadata = {});

}  // namespace weft::checkpoint
