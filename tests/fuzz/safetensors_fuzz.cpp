#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>

#include <weft/core/error.hpp>
#include <weft/io/safetensors.hpp>

#include "io/safetensors_header.hpp"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

/// A valid file with a few tensors.
std::string valid_file(std::mt19937& random) {
  std::string header = "{";
  size_t end = 0;
  for (auto count = random() % 4; count > 0; --count) {
    const auto dtype = static_cast<weft::io::DType>(random() % 22);
    size_t bits = weft::io::bits_of(dtype);
    std::string shape = "8";
    bits *= 8;
    for (auto rank = random() % 4; rank > 0; --rank) {
      const auto size = random() % 4;
      shape += "," + std::to_string(size);
      bits *= size;
    }
    const auto begin = end;
    end += bits / 8;
    header += "\"t" + std::to_string(count) + R"(":{"dtype":")" +
              std::string(weft::io::name_of(dtype)) + R"(","shape":[)" + shape +
              R"(],"data_offsets":[)" + std::to_string(begin) + "," + std::to_string(end) + "]},";
  }
  header += R"("__metadata__":{"format":"pt"}})";
  const uint64_t length = header.size();
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + header + std::string(end, 'x');
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    const auto file = weft::io::Safetensors::parse(bytes, "fuzz");
    uint64_t total = 0;
    unsigned sum = 0;
    for (const auto& tensor : file.tensors()) {
      total += tensor.data.size();
      for (const auto byte : tensor.data) sum += std::to_integer<unsigned>(byte);
      if (!file.find(tensor.name) || tensor.shape.size() > weft::io::kMaxRank) std::abort();
    }
    uint64_t length = 0;
    std::memcpy(&length, data, 8);
    if (8 + length + total != size || sum == 1u << 31) std::abort();
  } catch (const weft::Error&) {
  }
  try {
    weft::io::parse_weight_map({reinterpret_cast<const char*>(data), size}, "fuzz");
  } catch (const weft::Error&) {
  }
  return 0;
}

/// Mutates the header and the data apart and keeps the length in front true, so that mutants reach
/// what lies behind the first check.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  std::mt19937 random(seed);
  const auto kind = random() % 16;
  if (size < 10 || kind == 0) {
    const auto file = valid_file(random);
    size = std::min(file.size(), max_size);
    std::memcpy(data, file.data(), size);
    if (kind == 0) return size;
  }
  if (kind < 3 || size < 10) return LLVMFuzzerMutate(data, size, max_size);
  uint64_t length = 0;
  std::memcpy(&length, data, 8);
  length = std::min<uint64_t>(length, size - 8);
  std::string header(reinterpret_cast<char*>(data) + 8, length);
  const std::string rest(reinterpret_cast<char*>(data) + 8 + length, size - 8 - length);
  const auto room = max_size - 8 - std::min(rest.size(), max_size - 8);
  header.resize(std::max(room, header.size()));
  length = LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(header.data()),
                            std::min<size_t>(length, room), room);
  header.resize(length);
  std::memcpy(data, &length, 8);
  std::memcpy(data + 8, header.data(), length);
  const auto kept = std::min(rest.size(), max_size - 8 - length);
  std::memcpy(data + 8 + length, rest.data(), kept);
  return 8 + length + kept;
}
