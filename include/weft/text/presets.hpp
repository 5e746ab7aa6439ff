#pragma once

#include <functional>

#include <weft/core/registry.hpp>
#include <weft/text/text_encoder.hpp>

namespace weft::text {

/// For captions and small data: 8,000 tokens, 192 wide, 4 layers, 3 heads, 64 positions.
WEFT_API TextEncoderOptions text_tiny();
/// MiniLM's shape (Wang et al., 2020): BERT's vocabulary, 384 wide, 6 layers, 12 heads.
WEFT_API TextEncoderOptions text_small();
/// BERT-base (Devlin et al., 2019).
WEFT_API TextEncoderOptions text_base();

/// The presets by name.
WEFT_API const Registry<std::function<TextEncoderOptions()>>& presets();

}  // namespace weft::text
