// Ids of captions, batch after batch, padded to the longest of each or to "max_length".
#include <ATen/ops/from_blob.h>
#include <ATen/ops/scalar_tensor.h>

#include <weft/tokenizers/tokenizer.hpp>

#include "works.hpp"

namespace weft::benchmarks {

namespace {

std::vector<std::vector<std::string>> batches_of(const Json& args) {
  const auto texts = Json::read(args.at("texts").as_string()).as_strings();
  const auto size = static_cast<size_t>(args.at("batch_size").as_int());
  std::vector<std::vector<std::string>> batches;
  for (size_t i = 0; i < texts.size(); i += size)
    batches.emplace_back(texts.begin() + i, texts.begin() + std::min(i + size, texts.size()));
  return batches;
}

}  // namespace

Work tokenize(const Json& args) {
  const auto tokenizer = tokenizers::load_tokenizer(args.at("tokenizer").as_string());
  const auto batches = batches_of(args);
  const auto threads = static_cast<int>(args.get("threads", 1).as_int());
  tokenizers::EncodeOptions options{.max_length = args.get("max_length", 0).as_int()};
  options.padding =
      options.max_length > 0 ? tokenizers::Padding::max_length : tokenizers::Padding::longest;
  return [tokenizer, batches, threads, options] {
    std::vector<int64_t> ids;
    for (const auto& batch : batches) {
      const auto encoded = tokenizer->encode_ids_batch(batch, options, threads);
      ids.insert(ids.end(), encoded.ids.begin(), encoded.ids.end());
    }
    const auto count = static_cast<int64_t>(ids.size());
    return Outputs{{"ids", at::from_blob(ids.data(), {count}, at::kLong).clone()}};
  };
}

Work tokenize_corpus(const Json& args) {
  const auto tokenizer = tokenizers::load_tokenizer(args.at("tokenizer").as_string());
  const auto batches = batches_of(args);
  const auto threads = static_cast<int>(args.at("threads").as_int());
  return [tokenizer, batches, threads] {
    int64_t count = 0, sum = 0;
    for (const auto& batch : batches) {
      const auto encoded =
          tokenizer->encode_ids_batch(batch, {.add_special_tokens = false}, threads);
      for (int64_t r = 0; r < encoded.rows; ++r)
        for (int64_t c = 0; c < encoded.columns; ++c) {
          const auto i = r * encoded.columns + c;
          if (encoded.mask[i] == 0) break;
          ++count;
          sum += encoded.ids[i] * (c % 997 + 1);
        }
    }
    return Outputs{{"count", at::scalar_tensor(count, at::kLong)},
                   {"sum", at::scalar_tensor(sum, at::kLong)}};
  };
}

}  // namespace weft::benchmarks
