#include <algorithm>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <weft/text/token_batch.hpp>

namespace weft::text {

TokenBatch TokenBatch::from(const tokenizers::IdBatch& batch) {
  TokenBatch out{at::empty({batch.rows, batch.columns}, at::kLong),
                 at::empty({batch.rows, batch.columns}, at::kBool)};
  std::copy(batch.ids.begin(), batch.ids.end(), out.ids.data_ptr<int64_t>());
  std::transform(batch.mask.begin(), batch.mask.end(), out.mask.data_ptr<bool>(),
                 [](int64_t real) { return real != 0; });
  return out;
}

TokenBatch tokenize(const tokenizers::Tokenizer& tokenizer, const std::vector<std::string>& texts,
                    int64_t max_length, int threads) {
  return TokenBatch::from(tokenizer.encode_ids_batch(
      texts, {.max_length = max_length, .padding = tokenizers::Padding::longest}, threads));
}

}  // namespace weft::text
