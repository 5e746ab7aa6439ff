#include <weft/core/error.hpp>

#include "fuzz/tokenizing.hpp"
#include "tokenizers/base64.hpp"
#include "tokenizers/tiktoken.hpp"

// A pattern, then lines of a .tiktoken file behind those of the bytes, a zero byte, and a text.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weft::tokenizers;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto zero = std::min(bytes.find('\0'), bytes.size());
  static const std::string all_bytes = [] {
    std::string out;
    for (int byte = 0; byte < 256; ++byte)
      out += encode_base64(std::string(1, static_cast<char>(byte))) + ' ' + std::to_string(byte) +
             '\n';
    return out;
  }();
  try {
    auto ranks = parse_tiktoken(all_bytes + std::string(bytes.substr(0, zero)), "fuzz");
    const auto pattern = static_cast<TiktokenPattern>(data[0] % 5);
    check_ways(TiktokenTokenizer(std::move(ranks), pattern, "fuzz"),
               bytes.substr(std::min(zero + 1, bytes.size())));
  } catch (const weft::Error&) {
  }
  return 0;
}
