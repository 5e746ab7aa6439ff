#include <cstring>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <weft/checkpoint/key_map.hpp>

#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

struct TypePair {
  io::DType file;
  at::ScalarType torch;
};
constexpr TypePair kTypes[] = {{io::DType::f64, at::kDouble}, {io::DType::f32, at::kFloat},
                               {io::DType::f16, at::kHalf},   {io::DType::bf16, at::kBFloat16},
                               {io::DType::i64, at::kLong},   {io::DType::i32, at::kInt},
                               {io::DType::i16, at::kShort},  {io::DType::i8, at::kChar},
                               {io::DType::u8, at::kByte},    {io::DType::boolean, at::kBool}};

}  // namespace

at::Tensor as_tensor(const io::TensorView& view) {
  for (const auto& [file, type] : kTypes) {
    if (file != view.dtype) continue;
    const auto options = at::TensorOptions().dtype(type);
    if (view.data.empty()) return at::empty(view.shape, options);
    const auto address = reinterpret_cast<uintptr_t>(view.data.data());
    if (address % io::size_of(view.dtype) != 0) {  // a header of odd length: legal, and rare
      auto copy = at::empty(view.shape, options);
      std::memcpy(copy.data_ptr(), view.data.data(), view.data.size());
      return copy;
    }
    return at::from_blob(
        const_cast<std::byte*>(view.data.data()), view.shape, [owner = view.owner](void*) {},
        options);
  }
  fail(
      "{}: the tensor '{}' has the type {}, which is not supported; expected F64, F32, F16, BF16, "
      "an integer type or BOOL",
      view.owner ? view.owner->path().string() : "tensor", view.name, io::name_of(view.dtype));
}

io::TensorBytes as_bytes(std::string name, const at::Tensor& tensor) {
  TORCH_CHECK_VALUE(tensor.is_contiguous() && tensor.device().is_cpu(), "as_bytes: '", name,
                    "' must be a contiguous CPU tensor");
  for (const auto& [file, type] : kTypes) {
    if (type != tensor.scalar_type()) continue;
    return {std::move(name), file, tensor.sizes().vec(),
            std::span(static_cast<const std::byte*>(tensor.const_data_ptr()),
                      static_cast<size_t>(tensor.nbytes()))};
  }
  TORCH_CHECK_VALUE(false, "as_bytes: '", name, "' has the type ", tensor.scalar_type(),
                    ", which safetensors files do not hold here");
}

}  // namespace weft::checkpoint
