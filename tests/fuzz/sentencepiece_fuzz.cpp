#include <weft/core/error.hpp>

#include "fuzz/tokenizing.hpp"
#include "tokenizers/spm_tokenizer.hpp"

// A text of as many bytes as the first byte says, then a SentencePiece model, which is also read as
// the tokenizer.json that stands for it.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weft::tokenizers;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto text = bytes.substr(0, data[0]);
  const auto file = bytes.substr(text.size());
  try {
    check_ways(SpmTokenizer(std::string(file), "fuzz"), text);
    check_ways(Pipeline(spm_document(parse_spm(file, "fuzz")), nullptr, "fuzz"), text);
  } catch (const weft::Error&) {
  }
  return 0;
}
