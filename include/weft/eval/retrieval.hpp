#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <weft/core/export.hpp>
#include <weft/core/json.hpp>

namespace weft::eval {

/// Recall at 1, 5 and 10, as fractions, and where the best right answer stands, from 1.
struct Recall {
  double r1 = 0, r5 = 0, r10 = 0;
  double mean_rank = 0;    ///< over the queries that have a right answer
  double median_rank = 0;  ///< rounded down, as open_clip's
};

struct RetrievalResult {
  Recall image_to_text;  ///< images with one of their captions among the k nearest texts
  Recall text_to_image;  ///< texts with their image among the k nearest images
  /// {"image_to_text": {"r1", "r5", "r10"}, "text_to_image": {...}}
  WEFT_API Json json() const;
  /// {"image_to_text_R@1", r1}, {"image_to_text_mean_rank", ...} ...: the names that open_clip
  /// logs.
  WEFT_API std::vector<std::pair<std::string, double>> metrics() const;
};

/// Retrieval both ways between N images and M texts, several texts an image, as Flickr and COCO are
/// scored (Karpathy and Fei-Fei, 2015, section 4.2). image [N, E]; text [M, E], rows as they are to
/// be compared (unit length for the cosine); owner [M] int64: the image that a text describes.
/// Equal scores rank by index, lowest first. An image without a text is a miss. Memory beyond the
/// inputs is some 100 MB, whatever N and M are. Throws c10::ValueError on shapes, on owners outside
/// [0, N) and on scores that are not finite.
WEFT_API RetrievalResult retrieval(const at::Tensor& image, const at::Tensor& text,
                                   const at::Tensor& owner);

/// The k columns of highest inner product for each query. queries [Q, E]; candidates [C, E]; k is
/// cut to C. Returns [Q, k] int64, best first, equal scores by index.
WEFT_API at::Tensor top_k(const at::Tensor& queries, const at::Tensor& candidates, int64_t k);

/// Fraction of rows whose highest score is at the label (the first of equal ones).
/// scores [N, C]; labels [N] int64.
WEFT_API double top1_accuracy(const at::Tensor& scores, const at::Tensor& labels);

/// Fraction of images nearer to their right caption than to the wrong one that stands beside it
/// (equal is wrong). image, right and wrong [N, E].
WEFT_API double pair_accuracy(const at::Tensor& image, const at::Tensor& right,
                              const at::Tensor& wrong);

}  // namespace weft::eval
