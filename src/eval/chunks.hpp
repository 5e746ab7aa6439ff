#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include <ATen/ops/cat.h>

#include <weft/core/error.hpp>
#include <weft/data/image_text.hpp>
#include <weft/eval/features.hpp>
#include <weft/report/stages.hpp>

namespace weft::eval {

/// One epoch of the loader: take(batch) moves out what it keeps besides the pixels, which
/// encode(pixels, options) gets by the chunk, with options.progress counting on from the chunks
/// before. Loading is timed as "load".
template <class Take, class Encode>
void for_each_chunk(data::ImageTextLoader& loader, const FeatureOptions& options,
                    report::Stages& stages, Take&& take, Encode&& encode) {
  std::vector<at::Tensor> pixels;
  int64_t held = 0, done = 0;
  const auto encode_chunk = [&] {
    stages.lap("load");
    if (pixels.empty()) return;
    auto shifted = options;
    if (options.progress)
      shifted.progress = [&options, done](int64_t count) { options.progress(done + count); };
    const auto chunk = at::cat(pixels);
    pixels.clear();
    encode(chunk, shifted);
    done += held;
    held = 0;
  };
  while (auto batch = loader.next()) {
    held += batch->pixels.size(0);
    pixels.push_back(std::move(batch->pixels));
    take(*batch);
    if (held >= options.chunk) encode_chunk();
  }
  encode_chunk();
  if (done == 0)
    throw Error("no usable sample was found in the shards: " + loader.bad().summary(),
                ErrorKind::bad_data);
}

}  // namespace weft::eval
