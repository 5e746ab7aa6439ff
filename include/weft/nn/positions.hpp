#pragma once

#include <string_view>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/core/options.hpp>

namespace weft::nn {

enum class Interpolation {
  bicubic,
  bilinear,
  bucket,  ///< none: each patch takes the row of the table where it lies (position_buckets)
};

/// How a table of learned positions is carried to another grid. Take it from the checkpoint's
/// family: Hugging Face's DINOv2 and ViT do not antialias, its Dinov2WithRegisters, timm and
/// open_clip do.
struct ResampleOptions {
  Interpolation mode = Interpolation::bicubic;
  bool antialias = false;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("mode", o.mode);
    v("antialias", o.antialias);
  }
};

/// Resamples the learned positions `table` [1, prefix + G*G, D] from their G x G grid to `height` x
/// `width` patches, by size with align_corners off, in fp32 at least; the first `prefix` rows (the
/// class token's) stay. Returns [1, prefix + height*width, D] in the table's type; the table itself
/// where the grid is that one already, except by bucket.
WEFT_API at::Tensor resample_positions(const at::Tensor& table, int64_t height, int64_t width,
                                       int64_t prefix, const ResampleOptions& options = {});

/// [count] int64: which of `side` rows or columns of a table of positions each of `count` patches
/// takes, the first `real` of which span the image: floor(i / real * side) but for fp32's rounding,
/// which is Idefics2's and Idefics3's and puts a few patches one row up on the table's own grid too
/// (after NaViT's fractional positions, Dehghani et al., 2023, section 2.1). Patches beyond `real`
/// take the last row.
WEFT_API at::Tensor position_buckets(int64_t count, int64_t real, int64_t side);

/// Fixed sine-cosine positions of a `height` x `width` grid, [height*width, hidden_size] fp32, rows
/// first: the first half encodes the column, the second the row, each as sines then cosines of
/// hidden_size / 4 frequencies temperature^(-4i / hidden_size) (MoCo v3, MAE). hidden_size must be
/// a multiple of 4.
WEFT_API at::Tensor sincos_2d(int64_t hidden_size, int64_t height, int64_t width,
                              double temperature = 10000.0);

}  // namespace weft::nn

template <>
inline constexpr std::string_view weft::enum_names<weft::nn::Interpolation>[] = {
    "bicubic", "bilinear", "bucket"};
