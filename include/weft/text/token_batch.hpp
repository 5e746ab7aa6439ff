#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/tokenizers/tokenizer.hpp>

namespace weft::text {

/// Tokenized texts as an encoder reads them.
struct TokenBatch {
  at::Tensor ids = {};   ///< [B, N] int64
  at::Tensor mask = {};  ///< [B, N] bool, true = real

  /// Copies a padded batch.
  WEFT_API static TokenBatch from(const tokenizers::IdBatch& batch);
};

/// Tokenizes with special tokens, cut to `max_length` (0 = never) and padded to the longest, on
/// `threads` threads.
WEFT_API TokenBatch tokenize(const tokenizers::Tokenizer& tokenizer,
                             const std::vector<std::string>& texts, int64_t max_length = 0,
                             int threads = 1);

}  // namespace weft::text
