#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <weft/checkpoint/encoder_folder.hpp>
#include <weft/models/image_classifier.hpp>
#include <weft/vision/image_batch.hpp>

namespace weft::checkpoint {

/// An image classifier with all that turns files into its inputs and its logits into names.
struct ImageClassifierFolder {
  models::ImageClassifier model{nullptr};
  EncoderFolder image = {};  ///< the model's encoder
  vision::ImageTransformOptions transform = {};
  std::vector<std::string> classes = {};  ///< names [C], or empty
  LoadReport report = {};                 ///< what the load left aside
};

/// Loads an image classifier, from weft's own folder:
///   config.json          ImageClassifierOptions, "classes" and "model_type":
///                        "weft_image_classifier"
///   model.safetensors    head.weight, head.bias
///   image/               the encoder as a Hugging Face or timm folder; its
///                        preprocessor_config.json is the transform
/// or from a folder whose weights hold a head beside the encoder: Hugging Face's
/// ViTForImageClassification (the class token is classified), Dinov2ForImageClassification and
/// Dinov2WithRegistersForImageClassification (class token and mean patch), with the names of
/// id2label; timm's vision transformers (the vector that the encoder pools), with its label_names.
/// `path` may be a run folder, whose `model` is then read. The model is in evaluation mode. Error
/// names what is missing or differs.
WEFT_API ImageClassifierFolder load_image_classifier(const std::filesystem::path& path);

/// Writes weft's own folder, whose image/ loads into transformers or timm by itself. The folder
/// appears whole or not at all, in the place of one that was there.
WEFT_API void save_image_classifier(const ImageClassifierFolder& folder,
                                    const std::filesystem::path& path);

/// Puts a fresh head on an image encoder. `classes` are the names, or empty. Error where there are
/// not num_classes of them.
WEFT_API ImageClassifierFolder make_image_classifier(EncoderFolder image,
                                                     const models::ImageClassifierOptions& options,
                                                     std::vector<std::string> classes = {});

/// What the head of an encoder's family reads in its own library: class token and mean patch for
/// DINOv2, the class token for ViT, else what the encoder pools.
WEFT_API nn::Pooling head_pooling(const std::string& family);

/// Whether load_image_classifier() reads `path`, by its config.json and the names of its weights.
WEFT_API bool is_image_classifier(const std::filesystem::path& path);

}  // namespace weft::checkpoint
