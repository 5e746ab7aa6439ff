#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include <weft/core/export.hpp>
#include <weft/core/options.hpp>
#include <weft/data/image_text.hpp>

namespace weft::data {

/// Random changes to training images, as open_clip's aug_cfg names them. Without any of them an
/// image goes through vision::to_pixels_into.
struct AugmentOptions {
  /// Share of the image's area that the crop has, drawn uniformly; empty = no random crop.
  std::vector<double> scale = {0.9, 1.0};
  std::vector<double> ratio = {3.0 / 4, 4.0 / 3};  ///< width / height of the crop, log-uniform
  double horizontal_flip_prob = 0;
  /// Brightness, contrast, saturation, hue: factors of 1 - x to 1 + x, and turns of -x to x.
  std::vector<double> color_jitter = {};
  double color_jitter_prob = 0;
  double gray_scale_prob = 0;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("scale", o.scale, "least and largest area of the random crop, none = no random crop");
    v("ratio", o.ratio, "least and largest width / height of the random crop");
    v("horizontal_flip_prob", o.horizontal_flip_prob, "probability of a mirrored image");
    v("color_jitter", o.color_jitter, "brightness, contrast, saturation and hue (to 0.5)");
    v("color_jitter_prob", o.color_jitter_prob, "probability of that jitter");
    v("gray_scale_prob", o.gray_scale_prob, "probability of an image without colours");
  }
};

/// What is done to one image.
struct Augmentation {
  struct Box {
    int64_t left = 0, top = 0, width = 0, height = 0;
  };
  enum Adjustment : uint8_t { brightness, contrast, saturation, hue };

  std::optional<Box> crop = {};  ///< resized to S x S; none = the transform's own resize and crop
  bool flip = false;
  std::array<Adjustment, 4> order = {brightness, contrast, saturation, hue};
  std::array<std::optional<double>, 4> factors = {};  ///< by Adjustment; none = left as it is
  bool gray = false;
};

/// The draws for an image of `width` x `height`, which depend on `seed` alone. The crop follows
/// torchvision's RandomResizedCrop: ten attempts to fit a drawn area and ratio, then the largest
/// centred box whose ratio is within the bounds. Throws Error(usage) for options out of range.
WEFT_API Augmentation draw_augmentation(const AugmentOptions& options, int64_t width,
                                        int64_t height, uint64_t seed);

/// Crop and resize, flip, then the adjustments in their order and grey, on uint8 with Pillow's
/// definitions (ImageEnhance, and hue in its 8-bit HSV), which torchvision and open_clip use; `chw`
/// takes [3, S, S] bytes. Only the crop is resampled.
WEFT_API void augment_into(const io::Image& image, const Augmentation& augmentation,
                           const vision::ImageTransformOptions& transform, uint8_t* chw);

/// The two together, for ImageTextLoader. Throws Error(usage) at once for options out of range.
WEFT_API ImageTransform augmenting(const AugmentOptions& options,
                                   const vision::ImageTransformOptions& transform);

}  // namespace weft::data
