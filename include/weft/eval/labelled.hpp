#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/checkpoint/classifier_folder.hpp>
#include <weft/checkpoint/dual_encoder_folder.hpp>
#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/core/export.hpp>
#include <weft/data/image_text.hpp>
#include <weft/eval/features.hpp>
#include <weft/nn/pooling.hpp>
#include <weft/report/stages.hpp>
#include <weft/vision/image_batch.hpp>

namespace weft::eval {

/// An image encoder with what makes its inputs and its vectors.
struct ImageTower {
  std::shared_ptr<Encoder> encoder = {};
  EncodeFunction encode = {};  ///< pixels -> [B, F]
  vision::ImageTransformOptions transform = {};
};

/// Of a loaded encoder: pooled as asked, or as it pools itself. The transform is that of its
/// preprocessor, or of its image size where it has none. Throws c10::ValueError on a pooling that
/// the encoder cannot give.
WEFT_API ImageTower image_tower(const checkpoint::EncoderFolder& loaded,
                                std::optional<nn::Pooling> pool = {});

/// Of an image classifier: what its head reads, or pooled as asked.
WEFT_API ImageTower image_tower(const checkpoint::ImageClassifierFolder& loaded,
                                std::optional<nn::Pooling> pool = {});

/// Of a dual encoder: what its projection reads, which is what CLIP's authors probe (Radford et
/// al., 2021, appendix A.3), or where `projected` its unit rows in the shared space.
WEFT_API ImageTower image_tower(const checkpoint::DualEncoderFolder& loaded, bool projected);

struct ImageTowerOptions {
  std::optional<nn::Pooling> pool = {};  ///< of a single encoder or a classifier
  bool projected = false;                ///< of a dual encoder
};
/// Of a folder (or run folder) with a dual encoder or an image classifier, or of a folder with one
/// image encoder in Hugging Face's or timm's layout. Error where
/// it holds no image encoder, or an option does not apply to what it holds.
WEFT_API ImageTower load_image_tower(const std::filesystem::path& folder,
                                     const ImageTowerOptions& options = {});

/// A split as labelled vectors.
struct WEFT_API LabelledFeatures {
  at::Tensor features;            ///< [N, F] fp32
  at::Tensor labels;              ///< [N] int64
  std::vector<std::string> keys;  ///< [N]
  int64_t largest_label() const;
};

/// One epoch of a loader with needs_label through the tower, chunk by chunk; load and
/// image_features are timed in `stages`. Where `classes` is not 0, a label of that or more is an
/// Error that names the sample.
WEFT_API LabelledFeatures labelled_features(const ImageTower& tower, data::ImageTextLoader& loader,
                                            const FeatureOptions& options, report::Stages& stages,
                                            int64_t classes = 0);

}  // namespace weft::eval
