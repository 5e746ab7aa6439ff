#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/io/file.hpp>

namespace weft::io {

/// The element types of the format, in its order (by alignment), which is that of a written file
/// from back to front.
enum class DType {
  boolean,
  f4,  ///< two elements a byte
  f6_e2m3,
  f6_e3m2,
  u8,
  i8,
  f8_e5m2,
  f8_e4m3,
  f8_e8m0,
  f8_e4m3fnuz,
  f8_e5m2fnuz,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  c64,
  f64,
  i64,
  u64,
};

/// Bits of an element: 4 and 6 for the packed types, else 8 * size_of.
WEFT_API size_t bits_of(DType type);
/// Bytes of an element; Error for the packed types f4 and f6.
WEFT_API size_t size_of(DType type);
/// The name in the file: "F32", "BOOL".
WEFT_API std::string_view name_of(DType type);
/// Error names the nearest ones.
WEFT_API DType dtype_of(std::string_view name);

/// A tensor in a mapped file. `data` is little-endian, row-major, and lives as long as `owner`.
struct TensorView {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape = {};
  std::span<const std::byte> data = {};
  std::shared_ptr<MappedFile> owner = {};
};

/// The tensors of a .safetensors file, or of a sharded model, mapped and not copied.
///
/// The file is untrusted. Refused, by Errors that name file, tensor, expected and found: a header
/// above 100 MB or beyond the end of the file, or that is not an object of {dtype, shape,
/// data_offsets}; duplicate keys; more than 1,000,000 tensors or 8 dimensions; a shape whose size
/// overflows or differs from the byte range; ranges that overlap, leave a gap or do not end with
/// the file. An index may name only plain files of its own folder, each tensor must be in its
/// shard, and each tensor of a shard must be in the index.
class WEFT_API Safetensors {
 public:
  /// A .safetensors file, a *.index.json, or a folder that holds model.safetensors or
  /// model.safetensors.index.json.
  static Safetensors open(const std::filesystem::path& path);
  /// A file in memory, which must outlive the views (their owner is null); `origin` stands in
  /// errors.
  static Safetensors parse(std::span<const std::byte> bytes, std::string_view origin);

  /// In the order of their bytes, shard after shard.
  const std::vector<TensorView>& tensors() const { return tensors_; }
  /// nullptr where there is none.
  const TensorView* find(std::string_view name) const;
  /// Error with the nearest names where there is none.
  const TensorView& at(std::string_view name) const;
  /// __metadata__; of a sharded model that of its first shard with each key.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// What was opened, for messages.
  const std::string& origin() const { return origin_; }

 private:
  void read_file(const std::filesystem::path& path);
  void read_index(const std::filesystem::path& path);
  void read_bytes(std::span<const std::byte> bytes, std::string_view origin,
                  const std::shared_ptr<MappedFile>& owner);
  void make_index();

  std::vector<TensorView> tensors_;
  std::map<std::string, size_t, std::less<>> index_;
  std::map<std::string, std::string> metadata_;
  std::string origin_;
};

/// What write_safetensors takes; the bytes are the caller's.
struct TensorBytes {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape = {};
  std::span<const std::byte> data = {};
};

/// Writes the bytes that the reference implementation writes: tensors by type (widest first), then
/// by name; compact header, padded to 8 bytes. Whole or absent, and on the disk when this returns.
/// Error for duplicate or reserved names and for data that does not fit its shape.
WEFT_API void write_safetensors(const std::filesystem::path& path,
                                const std::vector<TensorBytes>& tensors,
                                const std::map<std::string, std::string>& metadata = {});

}  // namespace weft::io
