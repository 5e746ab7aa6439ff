#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/core/options.hpp>
#include <weft/io/image.hpp>
#include <weft/io/resize.hpp>

namespace weft::vision {

/// From a decoded image to the square of pixels that an encoder reads.
struct ImageTransformOptions {
  int64_t size = 224;   ///< S, pixels a side of the result
  int64_t resize = 0;   ///< shorter side before the centre crop of S; 0 = S
  bool squash = false;  ///< resize to S x S whatever the aspect, without a crop
  io::Filter filter = io::Filter::bicubic;
  std::vector<double> mean = {0.485, 0.456,
                              0.406};  ///< of channels / 255, taken off by normalize()
  std::vector<double> std = {0.229, 0.224, 0.225};

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("size", o.size, "pixels a side");
    v("resize", o.resize, "shorter side before the centre crop, 0 = size");
    v("squash", o.squash, "resize to a square whatever the aspect");
    v("filter", o.filter, "of the resize");
    v("mean", o.mean, "of the pixels / 255");
    v("std", o.std, "of the pixels / 255");
  }
};

/// Resizes the shorter side (the longer one is cut to a whole number, as torchvision and
/// transformers do) and crops the centre (an odd remainder's larger half lies right and below, as
/// in transformers), with Pillow's bytes; `chw` takes [3, S, S] bytes. An image whose crop reaches
/// beyond it is padded with zeros around it, as transformers does. Throws c10::ValueError for sizes
/// below 1.
WEFT_API void to_pixels_into(const io::Image& image, const ImageTransformOptions& options,
                             uint8_t* chw);

/// [B, 3, S, S] uint8; B >= 1.
WEFT_API at::Tensor to_pixels(const std::vector<io::Image>& images,
                              const ImageTransformOptions& options);

/// (pixels / 255 - mean) / std, float. pixels [B, C, H, W] uint8; mean and std have C values.
WEFT_API at::Tensor normalize(const at::Tensor& pixels, const std::vector<double>& mean,
                              const std::vector<double>& std);

}  // namespace weft::vision
