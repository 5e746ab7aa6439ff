#include <utility>
#include <vector>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>

#include <weft/checkpoint/tensors.hpp>

#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

constexpr std::pair<io::DType, at::ScalarType> kTypes[] = {
    {io::DType::f64, at::kDouble},
    {io::DType::f32, at::kFloat},
    {io::DType::f16, at::kHalf},
    {io::DType::bf16, at::kBFloat16},
    {io::DType::i64, at::kLong},
    {io::DType::i32, at::kInt},
    {io::DType::i16, at::kShort},
    {io::DType::i8, at::kChar},
    {io::DType::u8, at::kByte},
    {io::DType::u16, at::kUInt16},
    {io::DType::u32, at::kUInt32},
    {io::DType::u64, at::kUInt64},
    {io::DType::boolean, at::kBool},
    {io::DType::f8_e4m3, at::kFloat8_e4m3fn},
    {io::DType::f8_e5m2, at::kFloat8_e5m2},
    {io::DType::c64, at::kComplexFloat},
};

}  // namespace

at::ScalarType scalar_type(io::DType type) {
  for (const auto& [file, tensor] : kTypes)
    if (file == type) return tensor;
  fail("tensors of type {} cannot be read", io::name_of(type));
}

io::DType dtype_of(at::ScalarType type) {
  for (const auto& [file, tensor] : kTypes)
    if (tensor == type) return file;
  fail("tensors of type {} cannot be written", at::toString(type));
}

Tensor borrow_tensor(const io::TensorView& view) {
  const auto type = scalar_type(view.dtype);
  // from_blob refuses null, which an empty tensor at the end of a file may be.
  if (view.data.empty()) return at::empty(view.shape, type);
  auto* data = const_cast<std::byte*>(view.data.data());  // NOLINT: from_blob has no const form
  const auto tensor = at::from_blob(
      data, view.shape, [owner = view.owner](void*) {}, at::TensorOptions(type));
  return reinterpret_cast<uintptr_t>(data) % c10::elementSize(type) == 0 ? tensor : tensor.clone();
}

TensorMap read_tensors(const std::filesystem::path& path) {
  TensorMap out;
  const auto file = io::Safetensors::open(path);
  for (const auto& view : file.tensors()) out[view.name] = borrow_tensor(view).clone();
  return out;
}

void write_tensors(const std::filesystem::path& path, const TensorMap& tensors,
                   const std::map<std::string, std::string>& metadata) {
  std::vector<Tensor> keep;  // the copies that the spans point into
  std::vector<io::TensorBytes> entries;
  for (const auto& [name, tensor] : tensors) {
    keep.push_back(tensor.detach().cpu().contiguous());
    const auto& flat = keep.back();
    entries.push_back(
        {.name = name,
         .dtype = dtype_of(flat.scalar_type()),
         .shape = flat.sizes().vec(),
         .data = {static_cast<const std::byte*>(flat.const_data_ptr()), flat.nbytes()}});
  }
  io::write_safetensors(path, entries, metadata);
}

}  // namespace weft::checkpoint
