#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <weft/checkpoint/lm_folder.hpp>
#include <weft/checkpoint/vlm_folder.hpp>
#include <weft/text/vocabulary.hpp>

namespace weft::checkpoint {

/// text::resize_vocabulary() of a folder's language model, and of what its config.json says, so
/// that it is saved as it is:
///
///     const auto tokenizer = with_added_tokens(*load_tokenizer(path), data::location_tokens());
///     resize_vocabulary(folder, tokenizer->vocab_size());
///
/// Returns the new size. Throws c10::ValueError where the model is no text::DecoderLm.
WEFT_API int64_t resize_vocabulary(LmFolder& folder, int64_t vocab_size,
                                   const text::ResizeVocabularyOptions& options = {});
/// The same of a vision-language model's decoder.
WEFT_API int64_t resize_vocabulary(VlmFolder& folder, int64_t vocab_size,
                                   const text::ResizeVocabularyOptions& options = {});

/// Gives a vision-language model's tokenizer these tokens (tokenizers::with_added_tokens()), and
/// its decoder the rows for them; both are saved:
///
///     add_tokens(folder, data::location_tokens());   // now it can learn PaliGemma's boxes
///
/// Returns how many are new. Error where there is no tokenizer, or the placeholder of visual tokens
/// has one's id.
WEFT_API int64_t add_tokens(VlmFolder& folder, const std::vector<std::string>& tokens,
                            const text::ResizeVocabularyOptions& options = {});

}  // namespace weft::checkpoint
