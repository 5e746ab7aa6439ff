#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/tokenizers/tokenizer.hpp>

namespace weft::tokenizers {

struct BpeTrainerOptions {
  int64_t vocab_size = 8000;  ///< special tokens and the 256 bytes included
  int64_t min_frequency = 2;  ///< of a pair, for its merge
  std::vector<std::string> special_tokens = {"<pad>", "<s>", "</s>"};  ///< ids from 0, in order
  std::string bos_token = "<s>";   ///< in front of every text; "" = none
  std::string eos_token = "</s>";  ///< behind every text; "" = none
  bool add_prefix_space = false;   ///< the first word is written like the others

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("vocab_size", o.vocab_size);
    v("min_frequency", o.min_frequency);
    v("special_tokens", o.special_tokens);
    v("bos_token", o.bos_token);
    v("eos_token", o.eos_token);
    v("add_prefix_space", o.add_prefix_space);
  }
};

/// Learns a byte-level BPE (Sennrich et al., 2016; Radford et al., 2019): vocabulary and merges
/// equal those of Hugging Face's BpeTrainer with a ByteLevel pre-tokenizer and its initial
/// alphabet: the most frequent pair first, of equals the one of smaller ids. Fewer tokens come out
/// where no pair is left that is frequent enough. Padding is "<pad>". save() writes a
/// tokenizer.json that Hugging Face reads. Texts are UTF-8 (invalid sequences read as U+FFFD).
/// Error where vocab_size does not hold the special tokens and bytes, a special token stands twice,
/// or bos_token or eos_token is none of them.
WEFT_API std::shared_ptr<Tokenizer> train_byte_level_bpe(const std::vector<std::string>& texts,
                                                         const BpeTrainerOptions& options = {});

}  // namespace weft::tokenizers
