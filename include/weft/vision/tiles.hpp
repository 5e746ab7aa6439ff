#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/core/options.hpp>
#include <weft/io/image.hpp>
#include <weft/vision/image_batch.hpp>

namespace weft::vision {

/// Of an image, or of a grid of tokens.
struct Resolution {
  int64_t height;
  int64_t width;

  bool operator==(const Resolution&) const = default;
  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("height", o.height, required);
    v("width", o.width, required);
  }
};

/// What an encoder sees of an image. `none`: the view of an image transform. `pad`: that of the
/// image padded to a square with the mean colour (LLaVA-1.5's image_aspect_ratio=pad). `anyres`:
/// the whole image, squashed, and then the tiles of a larger copy of it (Liu et al., 2024,
/// LLaVA-NeXT). `split`: the tiles of a copy whose longer side is longest_edge and whose sides are
/// stretched to whole tiles, and then the whole copy (Idefics3, SmolVLM). `crop`: the tiles of the
/// image stretched to the grid of nearest aspect ratio, and then the whole image (InternVL 1.5,
/// Chen et al., 2024, section 3.3).
enum class Tiling { none, pad, anyres, split, crop };

struct TilingOptions {
  ImageTransformOptions view = {.size = 336,
                                .resize_mode = ResizeMode::squash,
                                .mean = {0.48145466, 0.4578275, 0.40821073},
                                .std = {0.26862954, 0.26130258, 0.27577711}};  ///< of one tile
  Tiling tiling = Tiling::anyres;
  /// anyres: what the larger copy may be, multiples of view.size.
  std::vector<Resolution> grid_pinpoints = {
      {336, 672}, {672, 336}, {672, 672}, {1008, 336}, {336, 1008}};
  /// anyres: one of several images of a sample is `pad`'s view alone (LLaVA-OneVision).
  bool pad_several = false;
  int64_t longest_edge = 1456;     ///< split: pixels of the copy's longer side
  bool do_image_splitting = true;  ///< split: false = the whole copy only
  int64_t min_tiles = 1;           ///< crop: of an image, without the whole
  int64_t max_tiles = 12;          ///< crop: 1 = the whole image only

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("view", o.view, "the transform of one tile");
    v("tiling", o.tiling, "none, pad, anyres, split or crop");
    v("grid_pinpoints", o.grid_pinpoints, "anyres: sizes that the tiles may have together");
    v("pad_several", o.pad_several, "anyres: tiles for the only image of a sample alone");
    v("longest_edge", o.longest_edge, "split: the longer side before the cut");
    v("do_image_splitting", o.do_image_splitting, "split: false = the whole image only");
    v("min_tiles", o.min_tiles, "crop: fewest tiles of an image");
    v("max_tiles", o.max_tiles, "crop: most tiles of an image");
  }
};

/// One image's row of EncoderInput.images. The base view is in front of the tiles, which follow row
/// by row; behind them with split and crop.
struct TiledImage {
  int64_t first_tile = 0;
  int64_t rows = 0, columns = 0;  ///< of tiles; 0 = the base view is all
  Resolution size = {0, 0};       ///< of the image
  bool has_base = true;

  /// The base view among them.
  int64_t count() const { return rows * columns + (has_base ? 1 : 0); }
};

/// Of `candidates`, that in which most of the image's pixels are left, and then the least is
/// padding; the first of equals (LLaVA-NeXT's select_best_resolution).
WEFT_API Resolution select_best_resolution(const Resolution& image,
                                           const std::vector<Resolution>& candidates);

/// The size of the image resized into `target`, its aspect ratio kept: one side is the target's,
/// the other is rounded up.
WEFT_API Resolution fit_into(const Resolution& image, const Resolution& target);

/// split: the size of the image's copy, its aspect ratio kept but for rounding (the shorter side is
/// even), and of the same stretched to whole tiles of `side` pixels.
struct SplitSizes {
  Resolution copy, whole;
};
WEFT_API SplitSizes split_sizes(const Resolution& image, int64_t longest_edge, int64_t side);

/// crop: rows and columns, of those with min_tiles to max_tiles tiles, whose aspect ratio is
/// nearest to the image's; of several, the largest of which the image has more than half the pixels
/// (InternVL's dynamic resolution, transformers' get_optimal_tiled_canvas).
WEFT_API Resolution nearest_grid(const Resolution& image, int64_t side, int64_t min_tiles,
                                 int64_t max_tiles);

/// The image in the middle (rounded to the left and up) of a square of `color` [3].
WEFT_API io::Image pad_to_square(const io::Image& image, const std::vector<int64_t>& color);

/// int(255 mean), the colour that LLaVA pads with.
WEFT_API std::vector<int64_t> mean_color(const std::vector<double>& mean);

/// What holds for an image that is one of several of its sample.
WEFT_API TilingOptions among_others(TilingOptions options);

/// How an image of that size is cut. Throws c10::ValueError for options that make no sense.
WEFT_API TiledImage tiled(const Resolution& image, const TilingOptions& options);

/// The tiles of an image, tiled(image).count() x [3, S, S] bytes, S = options.view.size: those that
/// transformers makes with Pillow (LlavaNextImageProcessor, LlavaOnevisionImageProcessor,
/// LlavaImageProcessor, Idefics3ImageProcessor, GotOcr2ImageProcessor) before it normalises them.
WEFT_API void to_tiles_into(const io::Image& image, const TilingOptions& options, uint8_t* chw);

struct Tiles {
  at::Tensor pixels = {};  ///< [T, 3, S, S] uint8
  at::Tensor images = {};  ///< [I, 6] int64, as in EncoderInput
};

WEFT_API Tiles to_tiles(const std::vector<io::Image>& images, const TilingOptions& options);

/// Images that were cut apart, one after the other; their tiles are of one size.
WEFT_API Tiles join(const std::vector<Tiles>& parts);

/// The rows of EncoderInput.images [I, 6]; waits for the device where they are on one. Error where
/// a row needs other tiles than 0 to `tiles`.
WEFT_API std::vector<TiledImage> tiled_images(const at::Tensor& images, int64_t tiles);

}  // namespace weft::vision

template <>
inline constexpr std::string_view weft::enum_names<weft::vision::Tiling>[] = {
    "none", "pad", "anyres", "split", "crop"};
