#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/core/options.hpp>
#include <weft/io/image.hpp>
#include <weft/io/resize.hpp>

namespace weft::vision {

/// What a resize to a side R keeps: `shortest` makes the shorter side R (the longer one cut to a
/// whole number, as torchvision and transformers do), `longest` the longer one (the shorter one
/// rounded half to even, as open_clip does), `squash` both.
enum class ResizeMode { shortest, longest, squash };

/// Where the pixel goes by which a centre crop or a padding is odd. `down`: a crop's offset is
/// rounded down and so is that of the image in its padding, less by one half, as in transformers.
/// `half_to_even`: a crop's offset is rounded half to even, a padding's before the image down, as
/// in torchvision, open_clip and timm.
enum class CropRounding { down, half_to_even };

/// From a decoded image to the square of pixels that an encoder reads.
struct ImageTransformOptions {
  int64_t size = 224;  ///< S, pixels a side of the result
  int64_t resize = 0;  ///< R, of the resize before the centre crop of S; 0 = S
  ResizeMode resize_mode = ResizeMode::shortest;
  io::Filter filter = io::Filter::bicubic;
  CropRounding crop_rounding = CropRounding::down;
  int64_t fill_color = 0;  ///< 0 to 255, of all channels, around an image smaller than the crop
  std::vector<double> mean = {0.485, 0.456,
                              0.406};  ///< of channels / 255, taken off by normalize()
  std::vector<double> std = {0.229, 0.224, 0.225};

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("size", o.size, "pixels a side");
    v("resize", o.resize, "side that the resize gives before the centre crop, 0 = size");
    v("resize_mode", o.resize_mode, "which side of an image that is, or squash");
    v("filter", o.filter, "of the resize");
    v("crop_rounding", o.crop_rounding, "of the crop's offset");
    v("fill_color", o.fill_color, "0 to 255, around an image smaller than the crop");
    v("mean", o.mean, "of the pixels / 255");
    v("std", o.std, "of the pixels / 255");
  }
};

/// How the square of pixels comes of an image.
struct ViewGeometry {
  int64_t width, height;  ///< of the resized image
  int64_t left, top;      ///< of the crop in it; negative where the image is padded
};
/// Of an image of that size.
WEFT_API ViewGeometry view_geometry(int64_t width, int64_t height,
                                    const ImageTransformOptions& options);

/// Resizes and crops the centre, with Pillow's bytes; `chw` takes [3, S, S] bytes. An image whose
/// crop reaches beyond it is padded around it. Throws c10::ValueError for sizes below 1 and colours
/// outside 0 to 255.
WEFT_API void to_pixels_into(const io::Image& image, const ImageTransformOptions& options,
                             uint8_t* chw);

/// Interleaved `rgb` [size, size, 3] to the planes `chw` [3, size, size].
WEFT_API void to_planes(const uint8_t* rgb, int64_t size, uint8_t* chw);

/// [B, 3, S, S] uint8; B >= 1.
WEFT_API at::Tensor to_pixels(const std::vector<io::Image>& images,
                              const ImageTransformOptions& options);

/// (pixels / 255 - mean) / std, float. pixels [B, C, H, W] uint8; mean and std have C values.
WEFT_API at::Tensor normalize(const at::Tensor& pixels, const std::vector<double>& mean,
                              const std::vector<double>& std);

}  // namespace weft::vision

template <>
inline constexpr std::string_view weft::enum_names<weft::vision::ResizeMode>[] = {
    "shortest", "longest", "squash"};
template <>
inline constexpr std::string_view weft::enum_names<weft::vision::CropRounding>[] = {"down",
                                                                                    "half_to_even"};
