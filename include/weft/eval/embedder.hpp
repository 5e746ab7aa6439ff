#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/checkpoint/dual_encoder_folder.hpp>
#include <weft/core/export.hpp>
#include <weft/eval/features.hpp>
#include <weft/eval/labelled.hpp>
#include <weft/io/image.hpp>
#include <weft/nn/pooling.hpp>

namespace weft::eval {

struct EmbedderOptions {
  std::optional<nn::Pooling> pool =
      {};  ///< of a single encoder; by default its own for images, mean for texts
  std::string tokenizer = {};  ///< file or folder, instead of the model's own
  FeatureOptions features = {};
};

/// Images and texts as unit vectors, with whatever a folder holds: a dual encoder, an image
/// classifier (what its head reads), or one encoder in Hugging Face's layout.
class WEFT_API Embedder {
 public:
  explicit Embedder(const std::filesystem::path& folder, const EmbedderOptions& options = {});

  /// [B, E] fp32. Error where the folder holds no image encoder.
  at::Tensor images(const std::vector<io::Image>& images);
  /// [B, E] fp32. Error where the folder holds no text encoder or no tokenizer.
  at::Tensor texts(const std::vector<std::string>& texts);

 private:
  void take(ImageTower tower);

  std::string origin_;
  EmbedderOptions options_;
  std::shared_ptr<Encoder> image_, text_;
  EncodeFunction encode_image_, encode_text_;
  std::shared_ptr<tokenizers::Tokenizer> tokenizer_;
  vision::ImageTransformOptions transform_;
};

}  // namespace weft::eval
