#pragma once

#include <cstdint>

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

}  // namespace weft::checkpoint
