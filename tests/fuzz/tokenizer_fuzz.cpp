#include <cstdlib>
#include <string_view>

#include <weft/core/error.hpp>

#include "core/json_impl.hpp"
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
    const auto encoding = tokenizer.encode(text, {});
    std::vector<int64_t> ids;
    tokenizer.encode_ids(text, {}, ids);
    if (ids != encoding.ids || ids.size() != encoding.offsets.size()) std::abort();
    const auto stream = tokenizer.stream(false);
    std::string streamed;
    for (const auto id : ids) streamed += stream->push(id);
    streamed += stream->flush();
    if (streamed != tokenizer.decode(ids, false)) std::abort();
  } catch (const weft::Error&) {
  }
  return 0;
}
