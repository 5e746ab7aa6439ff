#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <weft/io/safetensors.hpp>

namespace weft::io {

inline constexpr uint64_t kMaxHeader = 100'000'000;
inline constexpr size_t kMaxTensors = 1'000'000;
inline constexpr size_t kMaxRank = 8;

/// One entry of a header as it was written, with its byte range in the buffer behind the header.
struct HeaderEntry {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;
};

struct Header {
  std::vector<HeaderEntry> entries;
  std::map<std::string, std::string> metadata;
};

/// Parses the JSON of a header: types, counts, ranks and duplicate keys are checked, ranges are
/// not.
Header parse_header(std::string_view json, std::string_view origin);

/// The weight_map of a model.safetensors.index.json: (tensor, shard), in the order of the file.
std::vector<std::pair<std::string, std::string>> parse_weight_map(std::string_view json,
                                                                  std::string_view origin);

/// The bytes of a tensor, or Error which names it: negative sizes, overflow, part of a byte.
uint64_t checked_bytes(const std::vector<int64_t>& shape, DType dtype, std::string_view name,
                       std::string_view origin);

/// "[2, 3]"
std::string shape_text(const std::vector<int64_t>& shape);

}  // namespace weft::io
