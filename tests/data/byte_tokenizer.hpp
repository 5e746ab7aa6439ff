#pragma once

#include <memory>

#include <weft/tokenizers/bpe_trainer.hpp>

namespace weft::test {

/// A small byte-level BPE: every text is tokens, and tokens are the text again.
inline std::shared_ptr<tokenizers::Tokenizer> byte_tokenizer() {
  static const auto made = tokenizers::train_byte_level_bpe(
      {"What is it? Which colour? A dog. Answer", "Say word word word"},
      {.vocab_size = 290, .min_frequency = 1});
  return made;
}

}  // namespace weft::test
