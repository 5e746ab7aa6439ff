// Ids of captions, batch after batch, padded to the longest of each or to "max_length".
#include <ATen/ops/from_blob.h>

#include <weft/tokenizers/tokenizer.hpp>

#include "works.hpp"

namespace weft::benchmarks {

Work tokenize(const Json& args) {
  const auto tokenizer = tokenizers::load_tokenizer(args.at("tokenizer").as_string());
  const auto texts = Json::read(args.at("texts").as_string()).as_strings();
  const auto size = static_cast<size_t>(args.at("batch_size").as_int());
  std::vector<std::vector<std::string>> batches;
  for (size_t i = 0; i < texts.size(); i += size)
    batches.emplace_back(texts.begin() + i, texts.begin() + std::min(i + size, texts.size()));
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

}  // namespace weft::benchmarks
