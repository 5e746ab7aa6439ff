#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/data/image_text.hpp>
#include <weft/models/dual_encoder.hpp>
#include <weft/nn/precision.hpp>
#include <weft/report/stages.hpp>
#include <weft/tokenizers/tokenizer.hpp>

namespace weft::eval {

struct FeatureOptions {
  int64_t image_batch = 64;
  int64_t text_batch = 128;
  int64_t max_text_tokens = 64;  ///< longer texts are cut; never above what the text encoder allows
  int64_t chunk = 16'384;        ///< samples held as pixels at a time
  int threads = 2;               ///< of the tokenizer
  bool text = true;              ///< whether pair_features() runs the text tower
  nn::Precision precision = nn::Precision::fp32;
  std::function<void(int64_t done)> progress = {};  ///< images whose features are there
};

/// A split as what its towers make of it, before the projections.
struct PairFeatures {
  at::Tensor image;  ///< [N, F] fp32
  at::Tensor text;   ///< [M, G] fp32, the captions of image 0, then of image 1 ...; or undefined
  at::Tensor owner;  ///< [M] int64, the image of each caption; ascending
  std::vector<std::string> keys;      ///< [N]
  std::vector<std::string> captions;  ///< [M]
};

/// The same in the shared space: unit rows [N, E] and [M, E].
struct PairRows {
  at::Tensor image, text;
};
WEFT_API PairRows embed(models::DualEncoderImpl& model, const PairFeatures& pairs);

/// One vector an input, in batches, without a graph: what a tower gives before or after a
/// projection, as `encode` says. `encode` maps a batch to [B, F]; results are fp32 on the encoder's
/// device.
using EncodeFunction = std::function<at::Tensor(const EncoderInput&)>;

/// pixels [B, 3, S, S] uint8 -> [B, F].
WEFT_API at::Tensor encode_images(Encoder& encoder, const EncodeFunction& encode,
                                  const at::Tensor& pixels, const FeatureOptions& options);
/// Batches are of similar length; the rows come in the order of `texts`.
WEFT_API at::Tensor encode_texts(Encoder& encoder, const EncodeFunction& encode,
                                 const tokenizers::Tokenizer& tokenizer,
                                 const std::vector<std::string>& texts,
                                 const FeatureOptions& options);

/// A dual encoder's features before the projections, [B, F] and [M, G].
WEFT_API at::Tensor image_features(models::DualEncoderImpl& model, const at::Tensor& pixels,
                                   const FeatureOptions& options);
WEFT_API at::Tensor text_features(models::DualEncoderImpl& model,
                                  const tokenizers::Tokenizer& tokenizer,
                                  const std::vector<std::string>& texts,
                                  const FeatureOptions& options);

/// How many tokens of a text are read: options.max_text_tokens, or less where the encoder's
/// positions end earlier.
WEFT_API int64_t text_limit(const Encoder& encoder, const FeatureOptions& options);

/// One epoch of the loader through both towers, chunk by chunk: load, image_features, text_features
/// are timed in `stages`. Memory: a chunk of pixels, and the features.
WEFT_API PairFeatures pair_features(models::DualEncoderImpl& model,
                                    const tokenizers::Tokenizer& tokenizer,
                                    data::ImageTextLoader& loader, const FeatureOptions& options,
                                    report::Stages& stages);

}  // namespace weft::eval
