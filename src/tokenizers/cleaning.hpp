#pragma once

#include "tokenizers/components.hpp"

namespace weft::tokenizers {

/// open_clip's cleaning: ftfy's fix_text, html.unescape twice, white space, lower case. Differs
/// from it: ftfy's repair of text that was decoded with a wrong encoding is left out
/// (fix_encoding).
class OpenClipCleaning final : public Normalizer {
 public:
  void apply(Text& text) const override;
};

/// Text whose surrogates stand as characters of their own (UTF-8 of JavaScript and old databases):
/// pairs joined, single ones as U+FFFD.
std::string join_surrogates(std::string_view text);

}  // namespace weft::tokenizers
