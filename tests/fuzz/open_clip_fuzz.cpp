#include <string_view>

#include <weft/core/error.hpp>

#include "fuzz/tokenizing.hpp"
#include "tokenizers/open_clip.hpp"

// OpenAI's vocabulary of four merges, gzipped or not, a zero byte, and a text for it. Without a
// zero byte all of it is the text.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weft::tokenizers;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    if (bytes.starts_with("\x1F\x8B")) {
      parse_openai_merges(unpack_gzip(bytes, "fuzz"), 4, "fuzz");
      return 0;
    }
    const auto zero = bytes.find('\0');
    const bool has_file = zero != std::string_view::npos;
    const auto merges = parse_openai_merges(
        has_file ? bytes.substr(0, zero) : "v\ni n\nt h\na n\nr e\n", 4, "fuzz");
    const auto text = has_file ? bytes.substr(zero + 1) : bytes;
    const OpenClipTokenizer tokenizer(merges, "fuzz");
    check_ways(tokenizer, text);
  } catch (const weft::Error&) {
  }
  return 0;
}
