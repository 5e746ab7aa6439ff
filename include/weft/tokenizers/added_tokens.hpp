#pragma once

#include <memory>
#include <string>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/tokenizers/tokenizer.hpp>

namespace weft::tokenizers {

struct AddTokensOptions {
  bool special = false;  ///< decode() leaves them out where it skips special tokens

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("special", o.special);
  }
};

/// The tokenizer with tokens that texts are searched for before anything else, as written (not
/// normalized), such as the location tokens of PaliGemma. New ones get the ids behind the highest,
/// as Hugging Face's add_tokens() gives them; one that the vocabulary has keeps its id, and one
/// that is an added token already stays as it is. save() writes them. Where the language model's
/// vocabulary becomes too small, checkpoint::resize_vocabulary() makes room.
/// For tokenizers that are a tokenizer.json at work: from that file, vocab.txt, vocab.json or a
/// .model beside a tokenizer_config.json. Error for others (OpenAI's file, .tiktoken, a .model
/// alone, SigLIP's), and for an empty token.
WEFT_API std::shared_ptr<Tokenizer> with_added_tokens(const Tokenizer& tokenizer,
                                                      const std::vector<std::string>& tokens,
                                                      const AddTokensOptions& options = {});

/// The tokenizer with the token `end` behind every text, as a special token, where it does not add
/// it already. Padding is that token too where no padding token is known, so that texts of several
/// lengths make a batch. save() writes both. For the same tokenizers; Error for others, and for an
/// id that the vocabulary lacks.
WEFT_API std::shared_ptr<Tokenizer> with_end_token(const Tokenizer& tokenizer, int64_t end);

}  // namespace weft::tokenizers
