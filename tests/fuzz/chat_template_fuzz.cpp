#include <cstdlib>

#include <weft/core/error.hpp>
#include <weft/core/json.hpp>
#include <weft/tokenizers/chat_template.hpp>

/// Any bytes are a template or an error; spans lie inside the text.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto context = weft::Json::parse(
      R"({"messages": [{"role": "user", "content": "a \u00e9"}, {"role": "assistant", "content": "b"}],
          "bos_token": "<s>", "tools": [{"name": "f", "x": [1, 2.5, null]}], "n": 3})");
  try {
    const weft::tokenizers::ChatTemplate chat({reinterpret_cast<const char*>(data), size}, "fuzz");
    const auto rendered = chat.render_spans(context);
    for (const auto& span : rendered.assistant())
      if (span.begin > span.end || span.end > rendered.text.size()) std::abort();
  } catch (const weft::Error&) {
  }
  return 0;
}
