#include <string_view>

#include <weft/core/error.hpp>

#include "core/json_impl.hpp"
#include "fuzz/tokenizing.hpp"
#include "tokenizers/pipeline.hpp"

// A tokenizer.json, a zero byte, and a text for it.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto zero = bytes.find('\0');
  const auto text =
      zero == std::string_view::npos ? std::string_view("a photo") : bytes.substr(zero + 1);
  try {
    const weft::tokenizers::Pipeline tokenizer(
        weft::parse_sorted_json(bytes.substr(0, zero), "fuzz"), nullptr, "fuzz");
    check_ways(tokenizer, text);
  } catch (const weft::Error&) {
  }
  return 0;
}
