#include <weft/text/presets.hpp>

namespace weft::text {

TextEncoderOptions text_tiny() {
  return {
      .vocab_size = 8000, .hidden_size = 192, .num_layers = 4, .num_heads = 3, .max_tokens = 64};
}

TextEncoderOptions text_small() { return {}; }

TextEncoderOptions text_base() {
  return {.hidden_size = 768, .num_layers = 12, .num_heads = 12, .pooler = true};
}

const Registry<std::function<TextEncoderOptions()>>& presets() {
  static const auto registry = [] {
    Registry<std::function<TextEncoderOptions()>> out("text preset");
    out.add("text_tiny", text_tiny);
    out.add("text_small", text_small);
    out.add("text_base", text_base);
    return out;
  }();
  return registry;
}

}  // namespace weft::text
