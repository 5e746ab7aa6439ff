#pragma once

#include <memory>
#include <utility>
#include <vector>

#include <torch/nn/module.h>

#include <weft/core/export.hpp>
#include <weft/core/options.hpp>
#include <weft/nn/module.hpp>
#include <weft/nn/sockets.hpp>
#include <weft/vision/tiles.hpp>

namespace weft::fusion {

/// The tokens of a grid that are of the image and not of the padding around it.
struct Unpadded {
  int64_t top, left;
  vision::Resolution size;
};

/// An image's part of the grid into which it was fitted, as LLaVA-NeXT rounds it: the padding on
/// both sides is half of what the image leaves free, rounded down. May be empty for a very long
/// image.
WEFT_API Unpadded unpad(const vision::Resolution& image, const vision::Resolution& grid);

struct AnyResOptions {
  int64_t tile_size = 336;  ///< pixels a side of a tile
  /// What the tiles of an image may be together, for visual_tokens().
  std::vector<vision::Resolution> grid_pinpoints = {
      {336, 672}, {672, 336}, {672, 672}, {1008, 336}, {336, 1008}};
  /// An image's grid of more tokens than this many tiles have (by more than 21 %) is shrunk to
  /// that, but to no less than one row and column, where the reference fails: LLaVA-OneVision's
  /// anyres_max_9. 0 = as large as it is.
  int64_t max_tiles = 0;

  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("tile_size", o.tile_size, "pixels a side of a tile");
    v("grid_pinpoints", o.grid_pinpoints, "sizes that the tiles may have together");
    v("max_tiles", o.max_tiles, "an image's tokens are at most this many tiles', 0 = any number");
  }
};

/// Any connector over the tiles of images (Liu et al., 2024, LLaVA-NeXT; Li et al., 2024,
/// LLaVA-OneVision, section 3.2): each image becomes the tokens of its base view, then those of its
/// grid of tiles, joined, without the padding, a learned newline behind every row. An image without
/// a grid is its base view and one newline.
///
///     AnyRes connector(std::make_shared<ProjectorImpl>(options), AnyResOptions{});
///     auto seen = model->embed_images({.data = tiles.pixels, .images = tiles.images});
///
/// Parameters: projector.*, image_newline.
class WEFT_API AnyResImpl : public Connector {
 public:
  AnyResImpl(std::shared_ptr<Connector> each, const AnyResOptions& options);

  /// input.visual: tokens [T, N, input_size] of T tiles, N a square without class tokens; images
  /// [I, 6]. Returns tokens [1, sum M, hidden_size], images, and cu_seqlens [I + 1].
  EncoderOutput connect(const ConnectorInput& input) override;
  ConnectorInfo info() const override { return projector->info(); }

  /// M, how many tokens an image of that size becomes, where a tile becomes `side` x `side` of
  /// them.
  int64_t visual_tokens(const vision::Resolution& image, int64_t side) const;
  /// The same of an image that has been cut.
  int64_t visual_tokens(const vision::TiledImage& image, int64_t side) const;

  AnyResOptions options;
  std::shared_ptr<Connector> projector;
  Tensor image_newline;  // [hidden_size]

 private:
  /// The tokens of a grid after unpadding, and what they are shrunk to.
  std::pair<Unpadded, vision::Resolution> layout(const vision::TiledImage& image,
                                                 int64_t side) const;
};
TORCH_MODULE(AnyRes);

}  // namespace weft::fusion
