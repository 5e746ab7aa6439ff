// The whole path of training data: WebDataset shards to normalised images and token ids, batch
// after batch.
#include <algorithm>
#include <numeric>

#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include <weft/data/image_text.hpp>
#include <weft/text/token_batch.hpp>
#include <weft/tokenizers/tokenizer.hpp>

#include "works.hpp"

namespace weft::benchmarks {

Work data_path(const Json& args) {
  data::ImageTextLoaderOptions options{.shards = args.at("shards").as_string(),
                                       .batch_size = args.at("batch_size").as_int(),
                                       .workers = args.at("workers").as_int(),
                                       .shuffle = false,
                                       .drop_last = false};
  options.transform = {.size = args.at("size").as_int(),
                       .crop_rounding = vision::CropRounding::half_to_even,
                       .mean = {0.48145466, 0.4578275, 0.40821073},
                       .std = {0.26862954, 0.26130258, 0.27577711}};
  const auto tokenizer = tokenizers::load_tokenizer(args.at("tokenizer").as_string());
  const tokenizers::EncodeOptions encode{.max_length = 77,
                                         .padding = tokenizers::Padding::max_length};
  return [options, tokenizer, encode] {
    data::ImageTextLoader loader(options);
    std::vector<std::string> keys;
    std::vector<at::Tensor> centres, ids;
    while (const auto batch = loader.next()) {
      const auto pixels =
          vision::normalize(batch->pixels, options.transform.mean, options.transform.std);
      std::vector<std::string> texts;
      for (const auto& captions : batch->captions) texts.push_back(captions.front());
      ids.push_back(text::TokenBatch::from(tokenizer->encode_ids_batch(texts, encode)).ids);
      const auto middle = options.transform.size / 2;
      centres.push_back(pixels.slice(2, middle, middle + 2).slice(3, middle, middle + 2).clone());
      keys.insert(keys.end(), batch->keys.begin(), batch->keys.end());
    }
    // Workers of the peer may give the batches in another order.
    std::vector<int64_t> order(keys.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return keys[static_cast<size_t>(a)] < keys[static_cast<size_t>(b)];
    });
    const auto by_key = at::tensor(order, at::kLong);
    return Outputs{{"centres", at::cat(centres).index_select(0, by_key)},
                   {"ids", at::cat(ids).index_select(0, by_key)}};
  };
}

}  // namespace weft::benchmarks
